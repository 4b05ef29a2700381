# Shared by test/run, test/setup and bench/demo.sh: who may do what, and how a
# server of ours is found and stopped.  Sourced, not run.

export LC_ALL=C.UTF-8
umask 022

# The caller's own PGHOST, PGOPTIONS and so on must not lead elsewhere.
for name in "${!PG@}"; do [[ $name == PG_* ]] || unset "$name"; done

die() {
    printf 'vdb: %s\n' "$*" >&2
    exit 1
}

am_root() { [ "$(id -u)" = 0 ]; }

# Runs a command as root: directly, or with sudo, which may ask for a password.
as_root() {
    if am_root; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "this step needs root: '$*'. Run make as root, or install sudo."
    fi
}

# The server refuses to run as root; Debian's packages made this user for it.
server_user() { if am_root; then echo postgres; else id -un; fi; }

# Replaces the calling process by a command run as the server's user, with a
# clean environment.  setpriv executes directly, so signals meet the command.
exec_as_server_user() {
    if am_root; then
        exec setpriv --reuid=postgres --regid=postgres --init-groups -- "$@"
    fi
    exec "$@"
}

as_server_user() (exec_as_server_user "$@")

# What the unit programs for 64-bit ARM lack, one Debian package a line; nothing
# on such a machine, where the ordinary ones are.
missing_for_arm64() {
    [ "$(uname -m)" != aarch64 ] || return 0
    command -v aarch64-linux-gnu-gcc >/dev/null || echo gcc-aarch64-linux-gnu
    [ -e /usr/aarch64-linux-gnu/include/stdio.h ] || echo libc6-dev-arm64-cross
    command -v qemu-aarch64 >/dev/null || echo qemu-user
}

# A make that calls us hands down its options; ours start afresh.
unset MAKEFLAGS MFLAGS MAKELEVEL

submake() { make -s -j"$(nproc)" PG_CONFIG="$PG_CONFIG" "$@"; }

# Installing needs no root where the server's folders are ours.
install_library() {
    local lib share
    lib=$("$PG_CONFIG" --pkglibdir) share=$("$PG_CONFIG" --sharedir)/extension
    if [ -w "$lib" ] && [ -w "$share" ]; then
        submake install
    else
        as_root make -s PG_CONFIG="$PG_CONFIG" install
    fi
}

# Stops every server whose data directory lies below a folder, at once: what
# such a server holds is thrown away anyway.  A pid file may be older than its
# process, so the process must also work in that very directory.
stop_servers_below() {
    local file dir pid
    while IFS= read -r file; do
        dir=${file%/postmaster.pid}
        pid=$(head -n 1 "$file" 2>/dev/null) || continue
        [ "$(readlink "/proc/$pid/cwd" 2>/dev/null)" = "$dir" ] || continue
        kill -QUIT "$pid" 2>/dev/null || continue
        wait_for_end "$pid"
    done < <(find "$(readlink -f "$1")" -name postmaster.pid 2>/dev/null)
}

# Up to ten seconds for a process that is not our child.
wait_for_end() {
    local tries=100
    while kill -0 "$1" 2>/dev/null && [ $((tries--)) -gt 0 ]; do sleep 0.1; done
}

# Microseconds since the epoch; and a number of them as seconds.
now() { printf '%s' "${EPOCHREALTIME/[.,]/}"; }
seconds() { awk -v us="$1" 'BEGIN { printf "%.*f", us < 99950000 ? 2 : 0, us / 1e6 }'; }
