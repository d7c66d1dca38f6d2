"""What the operator's page shows in the tests of a browser: accounts, and operations that were signed, failed or are hostile."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import asyncpg
from harness.invoices import invoice
from harness.operator_visitor import Visitor
from harness.waiting import until
from tests.support.operator_page import OperatorService, add_accounts
from tests.support.service import batch, credentials, finished, post

T = TypeVar("T")

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
HELD = ("INV-2026-9101", "INV-2026-9102")

# What a service has that has run for a month: samples of each minute of the last hours and of each sixth hour before, and
# what was used.
PAST = """
INSERT INTO samples (at, metric, value)
SELECT date_trunc('minute', t.at), m.metric, m.value
FROM (SELECT now() - n * interval '1 minute' AS at, n FROM generate_series(-5, 180) n
      UNION ALL SELECT now() - n * interval '6 hours', n FROM generate_series(1, 119) n) t
CROSS JOIN LATERAL (VALUES
    (1, 400 + 350 * sin(t.n / 9.0)), (2, 6 + 5 * sin(t.n / 9.0)), (3, 12 + 9 * sin(t.n / 9.0)),
    (4, greatest(0, 3 * sin(t.n / 30.0))),
    (5, 900 + 300 * sin(t.n / 14.0)), (6, 880 + 290 * sin(t.n / 14.0 - 0.2)), (7, 6 + 5 * sin(t.n / 6.0)),
    (8, 1.4 + 0.5 * sin(t.n / 11.0)), (9, 3.1 + 1.2 * sin(t.n / 11.0)), (10, 0.22 + 0.04 * sin(t.n / 7.0)),
    (11, 0.61 + 0.2 * sin(t.n / 7.0)), (12, 8.2e9 - 2e6 * t.n), (13, 1), (14, 40 + 12 * sin(t.n / 14.0)),
    (15, greatest(0, 2 * sin(t.n / 25.0)))
) AS m (metric, value)
ON CONFLICT (metric, at) DO UPDATE SET value = excluded.value;
INSERT INTO consumption (client_service, month, signatures, failures, time_stamps, content_bytes)
SELECT service, (date_trunc('month', now()) - n * interval '1 month')::date, 410000 - 21000 * n, 37 + n, 1000, 82000000000
FROM generate_series(1, 5) n, unnest(ARRAY['erp-lisboa', 'erp-porto']) service
ON CONFLICT DO NOTHING;
"""
GIVE_UP = """
UPDATE webhook_events SET state = 3, tries = 8, ended_at = now(), claimed_until = NULL
WHERE state = 1 AND tries > 0 AND number % 2 = 0;
"""


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
    """An account for each role, and operations of every kind: two of them are held after a restore."""
    add_accounts(page, *ROLES)
    for number in range(6):
        send(page, batch(f"INV-2026-{number:04}", [invoice(n, size_bytes=20_000) for n in range(1 + 3 * number)]))
    send(page, batch("INV-2026-9001", [invoice(1, size_bytes=3_000), b"no PDF", b"%PDF-1.7 cut off"]))
    send(page, hostile_batch(HOSTILE[0], HOSTILE[2]))
    for reference in HELD:
        send(page, batch(reference, [invoice(1, size_bytes=3_000), b"no PDF"]))
        hold(page, reference)
    apart(_execute(page, PAST))


def add_webhook(page: OperatorService, url: str, secret: str) -> None:
    """Gives the client service a webhook, and waits until ends of operations leave events."""
    path = page.service.services_file
    entries = json.loads(path.read_text("utf-8"))
    entries[credentials(page.service)[0]]["webhook"] = {"url": url, "secret": secret}
    new = path.with_suffix(".new")
    new.write_text(json.dumps(entries), "utf-8")
    new.chmod(path.stat().st_mode & 0o777)
    new.replace(path)
    api = Visitor(page.service.port)
    until(lambda: re.search(r"^batchseal_webhooks_waiting \d", api.get("/metrics").text, re.MULTILINE))


def give_up(page: OperatorService, tried: int) -> None:
    """Makes every second event one that was given up after all its tries, once so many were tried.

    The service notes a try after its receiver has seen it.
    """
    until(lambda: apart(_tried(page)) >= tried)
    apart(_execute(page, GIVE_UP))


def hold(page: OperatorService, reference: str) -> int:
    """Makes an operation that has failed documents what a restore leaves of an unfinished one: held, its failed documents open.

    Returns its id. A restore itself is tried by `tests/integration/test_backups.py` and the drill `backup`.
    """
    return apart(_hold(page, reference))


def apart(wanted: Coroutine[Any, Any, T]) -> T:
    """Runs it in a thread, since the browser's driver has an event loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, wanted).result()


async def _hold(page: OperatorService, reference: str) -> int:
    async with _connected(page) as connection:
        number: int = await connection.fetchval(
            "UPDATE operations SET status = 1, held_at = now(), finished_at = NULL, documents_failed = 0"
            " WHERE external_reference = $1 RETURNING id",
            reference,
        )
        await connection.execute(
            "UPDATE documents SET status = 1, sign_error = 0, cause = '' WHERE operation_id = $1 AND status = 3", number
        )
        return number


async def _tried(page: OperatorService) -> int:
    async with _connected(page) as connection:
        count: int = await connection.fetchval("SELECT count(*) FROM webhook_events WHERE state = 1 AND tries > 0")
        return count


async def _execute(page: OperatorService, statements: str) -> None:
    async with _connected(page) as connection:
        await connection.execute(statements)


@asynccontextmanager
async def _connected(page: OperatorService) -> AsyncIterator[asyncpg.Connection]:
    """A connection in the role of the service, which sees everything."""
    url = (page.service.folder / "temp" / "database.url").read_text("utf-8").strip()
    settings = {"batchseal.scope": "*", "search_path": "batchseal"}
    connection = await asyncpg.connect(url, server_settings=settings)
    try:
        yield connection
    finally:
        await connection.close()
