#!/bin/sh
# Runs as root in a bare Debian: installs the release $1, and has a user start the service and seal with it. A wheel has to do without
# a compiler. For the source distribution there is one, and the tests of the native code in /sources are run with what it has made.
set -eu
add() { apt-get install -qq -y --no-install-recommends "$@" > /dev/null; }
install() { /opt/batchseal/bin/pip install --quiet --disable-pip-version-check --only-binary :all: "$@"; }
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
add ca-certificates python3 python3-venv
for tool in gcc cc clang make; do
    if command -v "$tool"; then
        echo "this system is not bare: it has $tool" >&2
        exit 1
    fi
done
case "$1" in *.tar.gz) add gcc libc6-dev python3-dev ;; esac
python3 -m venv /opt/batchseal
install "$1"
useradd --create-home seal
cd /home/seal
setpriv --reuid=seal --regid=seal --init-groups env HOME=/home/seal PATH="/opt/batchseal/bin:$PATH" sh -eu /check/seal.sh
case "$1" in
*.tar.gz)
    uname -m
    # Of the tools for development those that these tests need, as the lock file has them.
    install $(grep -oE '^(pytest|pytest-asyncio|pytest-timeout|hypothesis|pybase64)==[^ ]+' /sources/requirements-dev.lock)
    cd /sources # it is mounted so that nothing can be written there
    export HYPOTHESIS_STORAGE_DIRECTORY=/tmp/hypothesis PYTHONDONTWRITEBYTECODE=1
    exec /opt/batchseal/bin/python -m pytest -q -p no:cacheprovider -o timeout=3600 tests/native
    ;;
esac
