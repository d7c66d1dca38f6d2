#!/bin/sh
# Seals the documents in /check with an installed release, as "Getting started" tells it, and checks the signatures.
set -eu
batchseal --version
mkdir work
printf '{"erp": {"secret": "%s"}}\n' "$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')" > work/client-services-config.json
batchseal serve --sandbox --work-folder=work --temp-folder=state > service.log 2>&1 &
service=$!
# A service that has ended answers no probe.
until batchseal probe > /dev/null 2>&1; do
    if ! kill -0 "$service"; then
        cat service.log
        exit 1
    fi
    sleep 0.5
done
from="--url=http://127.0.0.1:8080 --services-file=work/client-services-config.json --out=signed"
batchseal sign /check/pdf $from --visible-at=page=1,x=140,y=35 --visible-text='Sealed by $certificate.commonName'
batchseal sign /check/xml $from --signature-type=XAdES --level=LT
batchseal verify signed --root=state/sandbox/root.pem
python3 - <<'PYTHON'
import urllib.request
for path in ("docs/", "openapi.json"):
    with urllib.request.urlopen("http://127.0.0.1:8080/signstash/einvoice-integration-client-ws/" + path) as answer:
        print(path, answer.status, len(answer.read()), "bytes")
PYTHON
kill "$service"
wait "$service"
