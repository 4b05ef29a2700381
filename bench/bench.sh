#!/usr/bin/env bash
# `make bench`: reproduces the figures of README.md on public data, beside
# whatever peers are there.  Installs what is missing, builds, starts a private
# server of the installed PostgreSQL, fetches the data (npm, once), compares, and
# leaves a table and plots in bench/build.
#
#   ROUNDS=3        medians are of so many
#   SETS=words,fashion      PEERS=vdb-ivfpq,faiss   some of those that bench/compare knows
#   HNSWLIB=, FAISS=        folders of builds of one's own
#   DATA=           where data is kept, or lies already
set -euo pipefail
cd "$(dirname "$0")/.."
. test/common.sh
. bench/server.sh

data=${DATA:-bench/build/data}
sets=${SETS:-words,fashion}

# Half of the machine's memory, 16 GB at most: the indexes are to fit.
buffers() { awk '/^MemTotal/ { mb = int($2 / 2048); print (mb < 16384 ? mb : 16384) "MB" }' /proc/meminfo; }

test/setup bench
bindir=$("$PG_CONFIG" --bindir)
printf 'vdb on %s\n\n' "$("$PG_CONFIG" --version)"
trap give_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
step 'build' submake all
step 'install into the server' install_library
step 'fetch data' bench/datasets/fetch "$data" ${sets//,/ }
make_home bench
step 'create a private cluster' create_cluster "shared_buffers = $(buffers)" 'max_wal_size = 16GB'
step 'start its server' start_server
echo
bench/compare --data "$data" --sets "$sets" --rounds "${ROUNDS:-3}" \
    ${PEERS:+--peers "$PEERS"} --dsn "host=$home user=postgres"
