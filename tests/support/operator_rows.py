"""What the operator's page shows in the tests of a browser: accounts, and operations that were signed, failed or are hostile."""

import asyncio
import json

import asyncpg
from harness.invoices import invoice
from tests.support.operator_page import OperatorService, add_accounts
from tests.support.service import batch, finished, post

# Names of documents that would do something in a page that shows them as they are.
HOSTILE = (
    "<script>document.title='xss'</script>",
    "<img src=x onerror=\"document.title='xss'\">",
    "\"><svg onload=document.title='xss'>",
    "'><body onpageshow=document.title='xss'>",
    "</td></table><iframe srcdoc=\"<script>parent.document.title='xss'</script>\">",
    "<a href=javascript:document.title='xss'>x</a>",
    "{{7*7}}{% raw %}",
    "${7*7}#{7*7}<%= 7*7 %>",
    "<!--<img src=\"--><img src=x onerror=document.title='xss'//\">",
    "\" autofocus onfocus=document.title='xss' x=\"",
    "</title><script>document.title='xss'</script>",
    "<math><mtext><style><img src=x onerror=document.title='xss'></style></mtext></math>",
    "<svg><animate onbegin=document.title='xss' attributeName=x dur=1s>",
    "<details open ontoggle=document.title='xss'>",
    "<input hx-get=/x hx-trigger=load hx-on::load=\"document.title='xss'\">",
    '<div data-hx-on:click="1" data-plot="x" data-select-all>x</div>',
    "&lt;script&gt;document.title='xss'&lt;/script&gt;",
    "\N{RIGHT-TO-LEFT OVERRIDE}gpj.exe<script>document.title='xss'</script>",
    "<base href=//evil.example/><link rel=stylesheet href=//evil.example/x.css>",
    "<meta http-equiv=refresh content=0;url=//evil.example/><form action=//evil.example><button>",
)
ROLES = ("viewer", "operator", "auditor", "admin")


def hostile_batch(reference: str, description: str) -> bytes:
    """A request whose reference, description, names and references of documents are hostile."""
    body = json.loads(batch(reference, [invoice(number, size_bytes=3_000) for number in range(len(HOSTILE))]))
    body["description"] = description
    for document, name in zip(body["documents"], HOSTILE, strict=True):
        document["documentRequest"] |= {"name": name, "externalReference": f"{name} {len(name)}"[:255]}
    return json.dumps(body).encode()


def send(page: OperatorService, body: bytes) -> None:
    """Hands a request in, and waits for its end."""
    status, _, answer = post(page.service, body)
    assert status in (200, 202), answer
    finished(page.service, json.loads(body)["externalReference"])


def fill(page: OperatorService) -> None:
    """An account for each role, and operations of every kind."""
    add_accounts(page, *ROLES)
    for number in range(6):
        send(page, batch(f"INV-2026-{number:04}", [invoice(n, size_bytes=20_000) for n in range(1 + 3 * number)]))
    send(page, batch("INV-2026-9001", [invoice(1, size_bytes=3_000), b"no PDF", b"%PDF-1.7 cut off"]))
    send(page, hostile_batch(HOSTILE[0], HOSTILE[2]))


def hold(page: OperatorService, reference: str) -> int:
    """Makes an operation that has failed documents what a restore leaves of an unfinished one: held, its failed documents open.

    Returns its id. A restore itself is tried by `tests/integration/test_backups.py` and the drill `backup`.
    """
    return asyncio.run(_hold((page.service.folder / "temp" / "database.url").read_text("utf-8").strip(), reference))


async def _hold(url: str, reference: str) -> int:
    settings = {"batchseal.scope": "*", "search_path": "batchseal"}
    connection = await asyncpg.connect(url, server_settings=settings)
    try:
        number: int = await connection.fetchval(
            "UPDATE operations SET status = 1, held_at = now(), finished_at = NULL, documents_failed = 0"
            " WHERE external_reference = $1 RETURNING id",
            reference,
        )
        await connection.execute(
            "UPDATE documents SET status = 1, sign_error = 0, cause = '' WHERE operation_id = $1 AND status = 3", number
        )
        return number
    finally:
        await connection.close()
