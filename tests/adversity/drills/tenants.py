"""Every route as every client service: nobody reads, changes or learns of what is another's."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

from harness.service import RunningService
from tests.adversity.drills.registry import Figures, Trial, drill, within
from tests.support.service import ASYNC, BASE, FAST, batch, connect, documents, reply, until

NAMES = ("first", "second", "third")


def ask(service: RunningService, name: str, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
    basic = base64.b64encode(f"{name}:secret of {name}".encode()).decode()
    lines = f"{method} {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {basic}\r\nConnection: close\r\n"
    lines += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    with connect(service) as connection:
        connection.sendall(lines.encode() + body)
        status, _, said = reply(connection, method)
        return status, said


def routes(operation: int, reference: str, document: str) -> list[tuple[str, str]]:
    """Every address that names something of a caller's."""
    return [
        ("GET", f"{BASE}/async/operation/status/withExternalReference/{reference}"),
        ("GET", f"{BASE}/async/operation/status/withExternalReference/?externalReference={reference}"),
        ("GET", f"{BASE}/async/operation/sign/detail/withExternalReference/{reference}"),
        ("GET", f"{BASE}/operation/status/{operation}"),
        ("GET", f"{BASE}/operation/sign/detail/{operation}/contentInResponse/true"),
        ("GET", f"{BASE}/operation/sign/detail/{operation}/contentInResponse/false"),
        ("GET", f"{BASE}/operation/sign/detail/{operation}/documents"),
        ("GET", f"{BASE}/operation/sign/detail/{operation}/documents/0"),
        ("HEAD", f"{BASE}/operation/sign/detail/{operation}/documents/0"),
        ("GET", f"{BASE}/operation/id/withDocumentExternalReference/{document}"),
    ]


@drill("tenants", quick=1, short=1, long=100)
def tenants(folder: Path) -> Iterator[Trial]:
    (folder / "work").mkdir()
    configured = {name: {"secret": f"secret of {name}"} for name in NAMES}
    (folder / "work" / "client-services-config.json").write_text(json.dumps(configured))
    with RunningService("--sandbox", *FAST, folder=folder) as service:

        def trial(number: int) -> Figures:
            operations: dict[str, int] = {}
            for name in NAMES:
                body = batch(f"of-{name}-{number}", documents(2)).replace(b"doc 0", f"document-of-{name}".encode())
                status, said = ask(service, name, "POST", ASYNC, body)
                assert status == 200, said
                operations[name] = json.loads(said)["id"]

            def all_finished() -> bool:
                return all(
                    b"EXECUTED" in ask(service, name, "GET", f"{BASE}/operation/status/{operations[name]}")[1]
                    for name in NAMES
                )

            until(all_finished, within(30))
            asked = 0
            for owner in NAMES:
                mine = routes(operations[owner], f"of-{owner}-{number}", f"document-of-{owner}")
                nobodys = routes(999_999, f"of-nobody-{number}", "document-of-nobody")
                for caller in NAMES:
                    for (method, path), (_, missing) in zip(mine, nobodys, strict=True):
                        status, said = ask(service, caller, method, path)
                        asked += 1
                        if caller == owner:
                            assert status == 200, (caller, path, status, said[:200])
                            continue
                        # Not even a hint: the reply is that for what never existed.
                        absent = ask(service, caller, method, missing)
                        theirs = hide(said, operations[owner], owner)
                        assert (status, theirs) == (404, hide(absent[1], 999_999, "nobody")), (path, status, said)
                    if caller != owner:
                        # The reference of another is free, and taking it tells nothing and changes nothing.
                        status, said = ask(service, caller, "POST", ASYNC, batch(f"of-{owner}-{number}", documents(1)))
                        assert status in (200, 409), said
                        assert str(operations[owner]).encode() not in said or status == 200
            for owner in NAMES:
                status, said = ask(service, owner, "GET", f"{BASE}/operation/status/{operations[owner]}")
                assert b'"documentsTotal":2' in said, "somebody changed another's operation"
            return {"requests": asked}

        yield trial


def hide(said: bytes, operation: int, owner: str) -> bytes:
    return said.replace(str(operation).encode(), b"N").replace(f"of-{owner}".encode(), b"R")
