#!/bin/sh
# Signs a batch of PDF files, with curl and jq: sh example.sh REFERENCE FILE...
#
# The environment says where and as whom: BATCHSEAL_URL, BATCHSEAL_CLIENT_ID, BATCHSEAL_SECRET. Signed files are written to the folder
# `signed`. Exit code: 0 if every file was signed.
set -eu

api="$BATCHSEAL_URL/signstash/einvoice-integration-client-ws/api/v0"
reference=$1
shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# curl repeats a call while the service has no room (429, 503), after the pause that Retry-After names. The header is given in a
# file, so that the list of processes does not show it.
call() {
    curl --silent --show-error --retry 10 --max-time 120 --header "@$work/authorization" "$@"
}

# 1 token: it lives for an hour, and is good for any number of calls.
printf 'user = "%s:%s"\n' "$BATCHSEAL_CLIENT_ID" "$BATCHSEAL_SECRET" > "$work/user"
curl --silent --show-error --fail --retry 10 --config "$work/user" --data grant_type=client_credentials \
    "$BATCHSEAL_URL/oauth2/authorization-server/oauth/token" > "$work/token"
printf 'Authorization: Bearer %s\n' "$(jq -r .access_token "$work/token")" > "$work/authorization"

# 2 register: the files are parts, in the order in which the request names them. The service answers once the batch is stored. The
# reference is unique, so a repeated call signs nothing twice.
jq -n --arg reference "$reference" '{
    externalReference: $reference, description: "An example with curl",
    documents: [$ARGS.positional[] | split("/")[-1] | {
        documentRequest: {externalReference: ., name: ., contentType: "application/pdf"},
        signatureInfo: {signatureType: "PAdES", reason: "Invoice issued"}}]}' --args "$@" > "$work/request"

register() {
    for file; do set -- "$@" --form "files=@$file;type=application/pdf"; shift; done
    status=$(call --output "$work/reply" --write-out '%{http_code}' "$@" --form "signRequest=<$work/request" "$api/async/document/sign/")
    # 0.0.7, the reference is taken: an earlier call got through, whose reply was lost.
    if [ "$status" -ge 300 ] && [ "$(jq -r .errorCode "$work/reply")" != 0.0.7 ]; then
        cat "$work/reply" >&2
        exit 1
    fi
}

# 3 poll: the service holds each reply back for up to 30 s, or until the batch has ended.
ended() {
    encoded=$(jq -rn --arg reference "$reference" '$reference | @uri')
    while :; do
        call --fail --header 'Prefer: wait=30' "$api/async/operation/status/withExternalReference/$encoded" > "$work/status"
        case $(jq -r '.[0].status' "$work/status") in EXECUTED | EXECUTION_FAILED) return ;; esac
    done
}

register "$@"
ended
for again in 1 2; do
    [ "$(jq -r '.[0].status' "$work/status")" = EXECUTED ] && break
    # 5 resubmit: the same request once more. What is signed already is not signed again.
    jq -r '.[0] | "\(.documentsFailed) of \(.documentsTotal) documents failed; handing them in again"' "$work/status"
    register "$@"
    ended
done

# 4 fetch: each signed document as it is.
id=$(jq -r '.[0].id' "$work/status")
call --fail "$api/operation/sign/detail/$id/contentInResponse/false" > "$work/result"
mkdir -p signed
jq -r '.documentList | to_entries[] | select(.value.signStatus == "SIGNED") | "\(.key)/\(.value.name | split("/")[-1])"' "$work/result" |
    while IFS=/ read -r ordinal name; do
        call --fail --header 'Accept: */*' --output "signed/$name" "$api/operation/sign/detail/$id/documents/$ordinal"
    done
jq -r '.[0] | "\(.documentsTotal - .documentsFailed) of \(.documentsTotal) documents are signed"' "$work/status"
jq -r '.documentList[] | select(.signStatus != "SIGNED") | "\(.name): \(.signError) \(.causeMessage)"' "$work/result" >&2
[ "$(jq -r '.[0].status' "$work/status")" = EXECUTED ]
