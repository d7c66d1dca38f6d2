"""Level LT while nobody answers about certificates: for hours, on a service whose wall clock is moved (`other_clock.c`)."""

import base64
import json
import shutil
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.service import RunningService
from harness.xml_invoices import xml_invoice
from tests.adversity.drills.clock import HOUR, OtherClock, look_now
from tests.adversity.drills.judge import result_of
from tests.adversity.drills.registry import Figures, Trial, drill
from tests.support.long_term import xades_level
from tests.support.service import FAST, client_of, finished, post, until

from batchseal.sandbox.authority import stored_port

# Documents of the first operation and of each further one. Each takes a time stamp of the sandbox, which is slow.
MANY, SOME = 2_500, 300
JUDGED = 15
FINISHED_SECONDS = 300
# An answer is used for two hours here, and asked for again in the background after half of them.
MAX_AGE = "--revocation-max-age=2"
# The true time that the operations before it take comes on top: NEARLY_OVER leaves 25 minutes for it.
PAST_HALF, NEARLY_OVER, OVER = HOUR + 300, 2 * HOUR - 1500, 2 * HOUR + 300


@dataclass
class Watched:
    service: RunningService
    clock: OtherClock

    @property
    def sandbox(self) -> Path:
        return self.service.folder / "temp" / "sandbox"

    def counts(self) -> dict[str, dict[str, int]]:
        """How often the sandbox was asked about each certificate, and how many signatures it has given."""
        address = f"http://127.0.0.1:{stored_port(self.sandbox)}/sandbox/requests"
        with urllib.request.urlopen(address, timeout=10) as reply:
            counts: dict[str, dict[str, int]] = json.load(reply)
            return counts

    def signatures(self) -> int:
        return sum(self.counts()["signatures"].values())

    @contextmanager
    def away(self) -> Iterator[None]:
        """Inside the `with` block no answer about a certificate counts: the list of revoked ones cannot be read."""
        listed = self.sandbox / "revoked.txt"
        listed.write_text("no-such-certificate\n")
        try:
            yield
        finally:
            listed.unlink()

    def send(self, reference: str, count: int) -> None:
        documents = [
            {
                "documentRequest": {
                    "externalReference": f"{number}",
                    "name": f"{number}.xml",
                    "contentType": "text/xml",
                    "base64Content": base64.b64encode(xml_invoice(number, size_bytes=2_000)).decode(),
                },
                "signatureInfo": {"signatureType": "XAdES"},
            }
            for number in range(count)
        ]
        body = {"externalReference": reference, "description": "d", "documents": documents}
        assert post(self.service, json.dumps(body).encode())[0] == 200

    def status(self, reference: str) -> str:
        client = client_of(self.service)
        try:
            return client.status(reference).status
        finally:
            client.close()

    def judge(self, reference: str, count: int) -> None:
        """Waits for the operation: every document must be signed, and be of level LT."""
        operation = finished(self.service, reference, FINISHED_SECONDS)
        assert operation.status == "EXECUTED", operation
        entries: Any = result_of(self.service, operation.operation_id)["documentList"]
        assert [one["signStatus"] for one in entries] == ["SIGNED"] * count
        said = [{a["attributeKey"]: a["attributeValue"] for a in one["documentAttributes"]} for one in entries]
        assert said == [{"signatureLevel": "LT"}] * count
        for one in entries[:: count // JUDGED]:
            assert xades_level(base64.b64decode(one["signedContent"])) == "LT"


@drill("responder-away", quick=0, short=2, long=20, needs=("gcc",))
def responder_away(folder: Path) -> Iterator[Trial]:
    """For hours nobody answers about certificates: nothing fails while what was said counts, and nothing is signed after that."""

    def trial(number: int) -> Figures:
        place = folder / f"away-{number}"
        (place / "service").mkdir(parents=True)
        place.chmod(0o711)  # passed by the account of the embedded Postgres
        clock = OtherClock(place)
        with clock.for_new_processes():
            running = RunningService(*FAST, "--signature-level=LT", MAX_AGE, folder=place / "service")
            running.__enter__()
        try:
            requests = away_for_hours(Watched(running, clock))
        finally:
            running.__exit__(None, None, None)
        shutil.rmtree(place, ignore_errors=True)
        return {"documents": MANY + 3 * SOME, "status_requests": requests}

    yield trial


def away_for_hours(watched: Watched) -> int:
    """How often the sandbox was asked about certificates for the first operation."""
    watched.send("many", MANY)
    watched.judge("many", MANY)
    asked = {kind: watched.counts()[kind] for kind in ("ocsp", "crl", "issuers")}
    requests = [number for counted in asked.values() for number in counted.values()]
    # The certificates of the signer, of the time stamp authority and of the issuer: one request each.
    assert requests == [1, 1, 1], asked
    assert watched.signatures() == MANY
    with watched.away():
        # What was said still counts: nothing fails, neither when it should be renewed nor shortly before its end.
        for seconds in (PAST_HALF, NEARLY_OVER):
            watched.clock.set(seconds)
            watched.send(f"at {seconds}", SOME)
            watched.judge(f"at {seconds}", SOME)
        assert watched.signatures() == MANY + 2 * SOME
        watched.clock.set(OVER)
        watched.send("waits", SOME)
        until(lambda: watched.status("waits") == "EXECUTION_ERROR", 30)
        look_now(watched.service)  # it is tried again by a new process, which knows of no pause
        until(lambda: b"nobody can say" in watched.service.log.read_bytes().rpartition(b"signer ended")[2], 60)
        assert watched.status("waits") == "EXECUTION_ERROR"
        assert watched.signatures() == MANY + 2 * SOME
    look_now(watched.service)
    watched.judge("waits", SOME)
    assert watched.signatures() == MANY + 3 * SOME
    return sum(requests)
