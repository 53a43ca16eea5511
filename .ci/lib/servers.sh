# shellcheck shell=bash
# A server beside a command: it has a folder, $work, and ends with the script that reads this.

work=$(mktemp -d)
server=
as_user=()
trap stop_server EXIT

# Nothing of it is kept, so it is not asked, unless the script names a gentler signal.
stop_server() {
    if [ -n "$server" ]; then
        kill "-${stop_signal:-KILL}" "$server" || true
        wait "$server" || true
    fi 2>/dev/null
    rm -rf "$work"
}

# serve COMMAND [ARGUMENT...]: starts it, by way of the command as_user where the script has one. It ends with this
# script, even where that is killed; a change of user would undo that, so it comes first.
serve() {
    "${as_user[@]}" setpriv --pdeathsig KILL "$@" >"$work/log" 2>&1 </dev/null &
    server=$!
}

# until_served WHAT COMMAND [ARGUMENT...]: waits until the command, which asks the server, succeeds.
until_served() {
    local what=$1 deadline=$((SECONDS + 60))
    shift
    until "$@" >"$work/asked" 2>&1; do
        if ! kill -0 "$server" 2>/dev/null || [ $SECONDS -ge $deadline ]; then
            tail -n 20 "$work/log" "$work/asked" >&2
            echo "error: the $what does not answer" >&2
            exit 1
        fi
        sleep 0.1
    done
}

# free_ports COUNT: prints them. All at once, so that they differ.
free_ports() {
    python3 - "$1" <<'PYTHON'
import socket, sys
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(int(sys.argv[1]))]
print(*(s.getsockname()[1] for s in sockets))
PYTHON
}
