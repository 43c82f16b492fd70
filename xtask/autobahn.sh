#!/bin/sh
# The Autobahn test suite for WebSockets, in a directory of its own below the cache of whoever calls this.
# It runs on Python 2.7 only, which has to be there, with pip: as python2.7, or as a version of pyenv.
#   autobahn.sh          installs it
#   autobahn.sh --probe  succeeds if it is installed
set -eu

place=${XDG_CACHE_HOME:-$HOME/.cache}/ringway/autobahn

if [ "${1:-}" = --probe ]; then
    exec test -x "$place/bin/wstest"
fi

for python in python2.7 "${PYENV_ROOT:-$HOME/.pyenv}"/versions/2.7*/bin/python2.7; do
    "$python" -m pip --version 2>/dev/null && break
    python=
done
if [ -z "$python" ]; then
    echo "no Python 2.7 with pip was found" >&2
    exit 1
fi

# Programs name the place they were made for, so it is made there. The one that is probed for comes last.
mkdir -p "$(dirname "$place")"
boot=$(mktemp -d)
trap 'rm -rf "$boot"' EXIT
"$python" -m pip install --quiet --target "$boot" virtualenv==20.15.1
rm -rf "$place"
PYTHONPATH=$boot "$python" -m virtualenv --quiet "$place"
if ! "$place/bin/pip" install --quiet autobahntestsuite==25.10.1; then
    rm -rf "$place"
    exit 1
fi
