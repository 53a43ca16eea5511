# shellcheck shell=bash
# Where things are. Nothing is written into the clone: what was compiled or downloaded stays in the user's cache.

# shellcheck disable=SC2034 # not all who read this go there
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/jobmgr

CARGO_TARGET_DIR=$(realpath -m "${CARGO_TARGET_DIR:-$cache/target}")
export CARGO_TARGET_DIR
# What a call of tests begins with.
bounded=()
if [ "${CI:-}" = true ]; then
    # It serves the next build after an edit, and there is none.
    export CARGO_INCREMENTAL=${CARGO_INCREMENTAL:-0}
    # A test that hangs fails while its name is still among the last lines.
    bounded=(timeout --kill-after=60s 40m)
fi

mkdir -p "$cache"
# Where rustup puts cargo; only the shells of a login know it. Where Debian puts servers; only root's shells know it.
PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin:/usr/sbin
