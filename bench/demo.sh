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
. bench/server.sh

words=bench/datasets/glove-12k-100.tsv.gz
note=.demo                      # holds the name of the server's folder

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

say_how_to_go_on() {
    cat <<-END

		The server goes on running. To look around:

		    $bindir/psql -h $home -U postgres demo

		To stop it and remove its folder:

		    make demo-stop
	END
}

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
    make_home demo
    step 'create a private cluster' create_cluster 'shared_buffers = 256MB' 'maintenance_work_mem = 256MB'
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
