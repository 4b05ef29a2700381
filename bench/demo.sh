#!/usr/bin/env bash
# `make demo`: from nothing to nearest neighbours.  Installs what is missing,
# builds, starts a private server in a temporary folder (no TCP port, its socket
# closed to other users, nothing of the system's server touched), loads the word
# vectors, runs demo.sql and leaves the server running to be played with.
#
#   bench/demo.sh           start over: a server left from before is removed
#   bench/demo.sh stop      `make demo-stop`: remove it
set -euo pipefail
cd "$(dirname "$0")/.."
. test/common.sh

PG_CONFIG=${PG_CONFIG:-pg_config}
words=bench/datasets/glove-12k-100.tsv.gz
note=.demo                      # holds the name of the server's folder
home=

# --- the server ----------------------------------------------------------------

in_home() (cd "$home" && HOME=$home && exec_as_server_user "$@")

make_home() {
    home=$(mktemp -d "${TMPDIR:-/tmp}/vdb-demo.XXXXXX")
    home=$(readlink -f "$home")
    ! am_root || chown "$(server_user):" "$home"
}

create_cluster() {
    in_home "$bindir/initdb" -D "$home/data" -U postgres -A trust -E UTF8 --no-locale --no-sync
    cat >>"$home/data/postgresql.conf" <<-CONF
		listen_addresses = ''
		unix_socket_directories = '$home'
		unix_socket_permissions = 0700
		shared_buffers = 256MB
		maintenance_work_mem = 256MB
		# what is lost in a crash is made again by the next demo
		fsync = off
		max_wal_size = 4GB
		jit = off
	CONF
}

start_server() {
    in_home "$bindir/pg_ctl" start -w -D "$home/data" -l "$home/log" </dev/null
}

sql() { "$bindir/psql" -X -q -v ON_ERROR_STOP=1 -P pager=off -h "$home" -U postgres -d "${database:-demo}" "$@"; }

load_words() {
    database=postgres sql -c 'CREATE DATABASE demo'
    sql -c 'CREATE EXTENSION vdb' \
        -c 'CREATE TABLE words (word text PRIMARY KEY, embedding vector(100))'
    gzip -dc "$words" | sql -c 'COPY words FROM STDIN'
    sql -c 'VACUUM ANALYZE words'
}

# Removes the server that the note speaks of; true when there was one.
remove_server() {
    local old
    [ -s "$note" ] || return 1
    old=$(cat "$note")
    # Whatever else the note may say, only a folder of our making is removed.
    if [[ $old == */vdb-demo.?????? && -d $old ]]; then
        [ -w "$old" ] || die "$old belongs to $(stat -c %U "$old"): stop the demo as that user"
        stop_servers_below "$old"
        rm -rf "$old"
    fi
    rm -f "$note"
}

# --- on the screen ----------------------------------------------------------------

# step text command...: a line with the time it took; on failure what it said.
step() {
    local text=$1 begun log
    shift
    begun=$(now) log=$(mktemp)
    printf '  %-52s' "$text"
    if ! "$@" >"$log" 2>&1; then
        echo failed
        tail -n 40 "$log" >&2
        [ -z "$home" ] || tail -n 20 "$home/log" 2>/dev/null >&2 || true
        rm -f "$log"
        exit 1
    fi
    rm -f "$log"
    printf '%7s s\n' "$(seconds "$(($(now) - begun))")"
}

say_how_to_go_on() {
    cat <<-END

		The server goes on running. To look around:

		    $bindir/psql -h $home -U postgres demo

		To stop it and remove its folder:

		    make demo-stop
	END
}

give_up() { [ -z "$home" ] || { stop_servers_below "$home"; rm -rf "$home"; }; }

start() {
    test/setup
    bindir=$("$PG_CONFIG" --bindir)
    printf 'vdb on %s\n\n' "$("$PG_CONFIG" --version)"
    ! remove_server || echo '  removed the server of the earlier demo, with its data'

    trap give_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    step 'build (about a minute the first time)' submake all
    step 'install into the server' install_library
    make_home
    step 'create a private cluster' create_cluster
    step 'start its server' start_server
    step "load $(gzip -dc "$words" | wc -l) word vectors of 100 dimensions" load_words
    sql -f bench/demo.sql
    trap - EXIT INT TERM HUP

    echo "$home" >"$note"
    say_how_to_go_on
}

case ${1:-start} in
    start) start ;;
    stop) if remove_server; then echo 'stopped'; else echo 'no demo is running'; fi ;;
    *) die "usage: bench/demo.sh [stop]" ;;
esac
