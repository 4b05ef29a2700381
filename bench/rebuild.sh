#!/usr/bin/env bash
# What is noticed of a rebuild that nobody asked for: the latency of one who reads, alone, beside
# one who inserts 100 rows a second, and beside both while a worker rebuilds the index.
#
#   bench/rebuild.sh        on a private server: three lines of latencies, and one of inserts, for each rebuild
#
#   AM=hnsw,ivfpq   ROWS=250000   REPEAT=3   QUIET=20 (seconds)
#   CONF='vdb.maintenance_cost_delay = 0'   another line of configuration
#
# A row is the sum of two of the words' vectors. The worker rebuilds for a floor of recall, which it
# measures at settings that find little; users have the defaults. What it does before and after the
# rebuild does not count.
set -euo pipefail
cd "$(dirname "$0")/.."
. test/common.sh
. bench/server.sh

rows=${ROWS:-250000}
database=rebuild

load() {
    database=postgres sql -c 'CREATE DATABASE rebuild'
    sql -c 'CREATE EXTENSION vdb' \
        -c 'CREATE TABLE words (id serial, word text, v vector(100))' \
        -c 'CREATE TABLE items (id int PRIMARY KEY, v vector(100))' \
        -c "CREATE SEQUENCE more START $((rows + 1))"
    gzip -dc bench/datasets/glove-12k-100.tsv.gz | sql -c 'COPY words (word, v) FROM STDIN'
    sql -v rows="$rows" <<-'END'
		SELECT count(*) AS n FROM words \gset
		INSERT INTO items SELECT i, a.v + b.v FROM generate_series(1, :rows) i
		JOIN words a ON a.id = i % :n + 1 JOIN words b ON b.id = (i::int8 * 7919 + i / :n) % :n + 1;
		VACUUM ANALYZE items
	END
    cat >"$home/read.sql" <<-END
		\set q random(1, $rows)
		SELECT id FROM items ORDER BY v <=> (SELECT v FROM items WHERE id = :q) LIMIT 10;
	END
    cat >"$home/write.sql" <<-END
		\set p random(1, $rows)
		\set q random(1, $rows)
		INSERT INTO items SELECT nextval('more'), a.v + b.v FROM items a, items b WHERE a.id = :p AND b.id = :q;
	END
}

make_index() {
    sql -c 'DROP INDEX IF EXISTS items_v' \
        -c "CREATE INDEX items_v ON items USING $1 (v vector_cosine_ops) WITH (maintenance = off)" \
        -c 'VACUUM ANALYZE items' -c 'CHECKPOINT'
}

epoch() { sql -At -c 'SELECT extract(epoch FROM clock_timestamp())'; }

# One session asks again and again: to start one takes as much of a processor as fifty queries of the reader.
await() {
    grep -qxm 1 t < <(sql -At 2>/dev/null <<<"SELECT $1 FROM vdb_stat_worker WHERE kind = 'worker' \\watch .2")
}

# show NAME FILE BEGIN END: latencies of what ended in between, by the logs of pgbench, FILE.number (the seventh
# number is for how long an insert was late)
show() {
    cat "$home/$2".*[0-9] | awk -v b="$3" -v e="$4" '{ at = $5 + $6 / 1e6 } at >= b && at < e { print $3 - $7 }' | sort -n |
        awk -v name="$1" -v b="$3" -v e="$4" '
            { us[NR] = $1 }
            function at(share) { return us[int((NR - 1) * share) + 1] / 1000 }
            END { printf "  %-34s %6.1f s %8.0f /s   p50 %7.3f   p99 %7.3f   max %8.3f ms\n",
                         name, e - b, NR / (e - b), at(.5), at(.99), at(1) }'
    rm -f "$home/$2".*[0-9]
}

# quiet NAME: the reader, without or beside whoever else there is
quiet() {
    local begin
    begin=$(epoch)
    "${reads[@]}" -T "${QUIET:-20}" >>"$home/read.out" 2>&1
    show "$1" read "$begin" "$(epoch)"
}

rebuild() {
    local begin end reader writer before
    before=$(sql -At -c 'SELECT coalesce(sum(reindexes), 0) FROM vdb_stat_worker')
    "${writes[@]}" -T 100000 >>"$home/write.out" 2>&1 & writer=$!
    quiet 'reads beside 100 inserts a second'
    "${reads[@]}" -T 100000 >>"$home/read.out" 2>&1 & reader=$!
    sql -c 'ALTER INDEX items_v SET (maintenance = on)'
    await "count(*) FILTER (WHERE work = 'reindex') = 1"
    begin=$(epoch)
    await "sum(reindexes) > $before"
    end=$(epoch)

    # what it has not written of its logs is lost
    sleep 3
    kill "$reader" "$writer"
    wait "$reader" "$writer" || true
    ! grep -i error "$home"/{read,write}.out || die 'somebody saw an error'
    show 'reads during a rebuild' read "$begin" "$end"
    show 'inserts during a rebuild' write "$begin" "$end"
    sql -c 'ALTER INDEX items_v SET (maintenance = off)'
}

bindir=$("$PG_CONFIG" --bindir)
printf 'vdb on %s, %s rows\n\n' "$("$PG_CONFIG" --version)" "$rows"
trap give_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
step 'build' submake all
step 'install into the server' install_library
make_home rebuild
users=(env PGOPTIONS='-c hnsw.ef_search=40 -c hnsw.iterative_scan=strict_order -c ivfpq.probes=0 -c ivfpq.refine_factor=0 -c ivfpq.iterative_scan=strict_order' "$bindir/pgbench" -h "$home" -U postgres -n -M prepared -l rebuild)
reads=("${users[@]}" --log-prefix="$home/read" -f "$home/read.sql")
writes=("${users[@]}" --log-prefix="$home/write" -f "$home/write.sql" -R 100)
step 'create a private cluster' create_cluster "shared_buffers = 1GB" 'fsync = on' \
    "shared_preload_libraries = 'vdb'" 'maintenance_work_mem = 1GB' 'vdb.maintenance_naptime = 1' "${CONF:-}"
step 'start its server' start_server
step 'load rows' load
sql -c 'ALTER DATABASE rebuild SET vdb.maintenance_recall_floor = 1' \
    -c 'ALTER DATABASE rebuild SET hnsw.ef_search = 1' -c 'ALTER DATABASE rebuild SET hnsw.iterative_scan = off' \
    -c 'ALTER DATABASE rebuild SET ivfpq.probes = 1' -c 'ALTER DATABASE rebuild SET ivfpq.iterative_scan = off' \
    -c 'ALTER DATABASE rebuild SET ivfpq.refine_factor = 1'
for am in $(echo "${AM:-hnsw,ivfpq}" | tr , ' '); do
    for _ in $(seq "${REPEAT:-3}"); do
        echo
        step "$am" make_index "$am"
        quiet 'reads alone'
        rebuild
    done
done
