# Shared by bench/demo.sh and bench/bench.sh: a private server in a temporary
# folder, with no TCP port and its socket closed to other users, and progress on
# the screen.  Sourced, after test/common.sh; `home` is the server's folder.

PG_CONFIG=${PG_CONFIG:-pg_config}
home=

in_home() (cd "$home" && HOME=$home && exec_as_server_user "$@")

# make_home NAME: a new folder of the server's user.
make_home() {
    home=$(mktemp -d "${TMPDIR:-/tmp}/vdb-$1.XXXXXX")
    home=$(readlink -f "$home")
    ! am_root || chown "$(server_user):" "$home"
}

# create_cluster [line]...: with such lines of configuration.
create_cluster() {
    in_home "$bindir/initdb" -D "$home/data" -U postgres -A trust -E UTF8 --no-locale --no-sync
    cat >>"$home/data/postgresql.conf" <<-CONF
		listen_addresses = ''
		unix_socket_directories = '$home'
		unix_socket_permissions = 0700
		# what is lost in a crash is made again by the next run
		fsync = off
		max_wal_size = 4GB
		jit = off
	CONF
    printf '%s\n' "$@" >>"$home/data/postgresql.conf"
}

start_server() {
    in_home "$bindir/pg_ctl" start -w -D "$home/data" -l "$home/log" </dev/null
}

sql() { "$bindir/psql" -X -q -v ON_ERROR_STOP=1 -P pager=off -h "$home" -U postgres -d "${database:-demo}" "$@"; }

# Stops the server and removes its folder.
give_up() { [ -z "$home" ] || { stop_servers_below "$home"; rm -rf "$home"; }; }

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
