"""Signs a batch of PDF files, with nothing but Python's standard library: python example.py REFERENCE FILE...

The environment says where and as whom: BATCHSEAL_URL, BATCHSEAL_CLIENT_ID, BATCHSEAL_SECRET. Signed files are written to the
folder `signed`. Exit code: 0 if every file was signed.
"""

import base64
import json
import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import quote

URL = os.environ["BATCHSEAL_URL"]
CLIENT_ID, SECRET = os.environ["BATCHSEAL_CLIENT_ID"], os.environ["BATCHSEAL_SECRET"]
API = URL + "/signstash/einvoice-integration-client-ws/api/v0"
TOKEN_URL = URL + "/oauth2/authorization-server/oauth/token"
# How often a batch that has failed is handed in again.
RESUBMISSIONS = 2
token = ""


class Refused(Exception):
    """The service refused a call. `code` is the `errorCode` of its reply."""

    def __init__(self, status: int, code: str, cause: str) -> None:
        super().__init__(f"{status} {code}: {cause}")
        self.status, self.code = status, code


def call(url: str, body: bytes | None = None, **headers: str) -> bytes:
    """One call. Waits and repeats it while the service has no room (429, 503), and renews the token once (401)."""
    for attempt in range(10):
        request = urllib.request.Request(url, body, {name.replace("_", "-"): value for name, value in headers.items()})
        if "Authorization" not in headers:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=120) as reply:
                return bytes(reply.read())
        except urllib.error.HTTPError as refusal:
            said = refusal.read()
            if refusal.code in (429, 503):
                time.sleep(float(refusal.headers.get("Retry-After") or 2**attempt))
            elif refusal.code == 401 and "Authorization" not in headers and attempt == 0:
                log_in()
            else:
                problem = json.loads(said) if said.startswith(b"{") else {}
                raise Refused(refusal.code, problem.get("errorCode", ""), problem.get("causeMessage", "")) from None
    raise Refused(503, "", "the service had no room for a long time")


def log_in() -> None:
    """1 token: it lives for an hour, and is good for any number of calls."""
    global token
    basic = base64.b64encode(f"{CLIENT_ID}:{SECRET}".encode()).decode()
    form = b"grant_type=client_credentials"
    reply = call(TOKEN_URL, form, Authorization=f"Basic {basic}", Content_Type="application/x-www-form-urlencoded")
    token = json.loads(reply)["access_token"]


def register(reference: str, files: list[Path]) -> None:
    """2 register: the service answers once the batch is stored.

    The reference is unique, so a repeated call signs nothing twice.
    """
    documents = [
        {
            "documentRequest": {
                "externalReference": file.stem,
                "name": file.name,
                "contentType": "application/pdf",
                "base64Content": base64.b64encode(file.read_bytes()).decode(),
            },
            "signatureInfo": {"signatureType": "PAdES", "reason": "Invoice issued"},
        }
        for file in files
    ]
    body = {"externalReference": reference, "description": "An example in Python", "documents": documents}
    try:
        call(f"{API}/async/document/sign/base64/", json.dumps(body).encode(), Content_Type="application/json")
    except Refused as refusal:
        if refusal.code != "0.0.7":  # the reference is taken: an earlier call got through, whose reply was lost
            raise


def wait(reference: str) -> dict[str, Any]:
    """3 poll: the service holds each reply back for up to 30 s, or until the batch has ended."""
    while True:
        path = f"{API}/async/operation/status/withExternalReference/{quote(reference, safe='')}"
        operation: dict[str, Any] = json.loads(call(path, Prefer="wait=30"))[0]  # the newest comes first
        if operation["status"] in ("EXECUTED", "EXECUTION_FAILED"):
            return operation


def fetch(operation_id: int, folder: Path) -> list[str]:
    """4 fetch: each signed document as it is. Returns why documents were not signed."""
    result = json.loads(call(f"{API}/operation/sign/detail/{operation_id}/contentInResponse/false"))
    folder.mkdir(exist_ok=True)
    failed = []
    for ordinal, document in enumerate(result["documentList"]):
        if document["signStatus"] == "SIGNED":
            content = call(f"{API}/operation/sign/detail/{operation_id}/documents/{ordinal}", Accept="*/*")
            (folder / Path(document["name"]).name).write_bytes(content)  # a name may hold a path
        else:
            failed.append(f"{document['name']}: {document['signError']} {document.get('causeMessage')}")
    return failed


def main() -> int:
    reference, files = sys.argv[1], [Path(name) for name in sys.argv[2:]]
    log_in()
    register(reference, files)
    operation = wait(reference)
    for _ in range(RESUBMISSIONS):
        if operation["status"] == "EXECUTED":
            break
        # 5 resubmit: the same request once more. What is signed already is not signed again.
        print(
            f"{operation['documentsFailed']} of {operation['documentsTotal']} documents failed; handing them in again"
        )
        register(reference, files)
        operation = wait(reference)
    failed = fetch(operation["id"], Path("signed"))
    print(f"{operation['documentsTotal'] - len(failed)} of {operation['documentsTotal']} documents are signed")
    for text in failed:
        print(text, file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
