#!/bin/sh
# Runs as root in a bare Debian: installs the wheel $1, and has a user start the service and seal with it.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -qq -y --no-install-recommends ca-certificates python3 python3-venv > /dev/null
for tool in gcc cc clang make; do
    if command -v "$tool"; then
        echo "this system is not bare: it has $tool" >&2
        exit 1
    fi
done
python3 -m venv /opt/batchseal
/opt/batchseal/bin/pip install --quiet --disable-pip-version-check --only-binary :all: "$1"
useradd --create-home seal
cd /home/seal
exec setpriv --reuid=seal --regid=seal --init-groups env HOME=/home/seal PATH="/opt/batchseal/bin:$PATH" sh -eu /check/seal.sh
