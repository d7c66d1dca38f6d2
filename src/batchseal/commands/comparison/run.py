"""Sends the same documents to both services, in turns, and collects what differs.

    1 refusals   calls that a service must refuse, which cost nothing: how each of them refuses
    2 documents  each document on its own, synchronously; with `also_async` once more by register, status and result
    3 times      how long both took, from all documents together

Each reference is a new one, with a prefix of the comparison's own. So nothing is taken away from anybody, and an operator finds
what was signed for the comparison. Which of the two goes first changes with each document.
"""

import json
import time
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import quote

from batchseal.client.batch import Document
from batchseal.commands.comparison.findings import Finding, Findings, compared
from batchseal.commands.comparison.properties import NOTED, properties_of
from batchseal.commands.comparison.replies import answer_findings, documents_of
from batchseal.commands.comparison.sides import Answer, Side

JSON = {"Content-Type": "application/json"}
# How long an asynchronous operation is waited for.
FINISH_SECONDS = 600
WAIT_SECONDS = 20
POLL_SECONDS = 0.5
FINISHED = ("EXECUTED", "EXECUTION_FAILED")
# An id that no operation has, and a reference that nobody has used.
NO_ID = 9_007_199_254_740_991

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Slower:
    """From when on the new service counts as slower: `factor` times the old one, and `seconds` more than it."""

    factor: float = 2.0
    seconds: float = 0.3


@dataclass(slots=True)
class Times:
    """Seconds of each call, by the kind of the call, for both services."""

    taken: dict[str, tuple[list[float], list[float]]] = field(default_factory=dict)

    def add(self, kind: str, old: Answer, new: Answer) -> None:
        if old.status and new.status:
            before, now = self.taken.setdefault(kind, ([], []))
            before.append(old.seconds)
            now.append(new.seconds)

    def findings(self, slower: Slower) -> list[Finding]:
        """A finding for each kind of call. It counts where the new service is slower."""
        found = []
        for kind, (before, now) in self.taken.items():
            old, new = median(before), median(now)
            counts = new > old * slower.factor and new > old + slower.seconds
            is_far = max(old, new) > min(old, new) * slower.factor and abs(old - new) > slower.seconds
            if is_far:
                found.append(Finding(kind, "time (median)", f"{old:.3f} s", f"{new:.3f} s", counts))
        return found


class Comparison:
    """One comparison of two services. `info` is the `signatureInfo` that is asked for, by the type of signature."""

    def __init__(
        self,
        old: Side,
        new: Side,
        documents: Sequence[Document],
        prefix: str,
        out: Path,
        *,
        info: Mapping[str, Any] | None = None,
        also_async: bool = False,
        slower: Slower = Slower(),
    ) -> None:
        self._sides = old, new
        self._documents = documents
        self._prefix = prefix
        self._out = out
        self._info = info or {}
        self._also_async = also_async
        self._slower = slower
        self.findings = Findings()
        self.times = Times()
        self.compared = 0  # pairs of signed documents

    @property
    def signatures(self) -> int:
        """How many signatures it costs, at most, at each of the two."""
        return len(self._documents) * (2 if self._also_async else 1)

    def run(self, say: Say = lambda text: None) -> Findings:
        """Raises RequestFailed where a service gives no token."""
        for side in self._sides:
            side.log_in()
        self._compare_refusals()
        for number, document in enumerate(self._documents):
            say(f"{document.name} ({number + 1} of {len(self._documents)})")
            self._compare_document(number, document)
        self.findings.take(self.times.findings(self._slower))
        return self.findings

    def _both(self, number: int, call: Callable[[Side], Answer]) -> tuple[Answer, Answer]:
        """Both answers to a call, the old one first. Which service is asked first changes with `number`."""
        old, new = self._sides
        if number % 2:
            now = call(new)
            return call(old), now
        before = call(old)
        return before, call(new)

    # --- 1 refusals ---------------------------------------------------------------------------------------------------

    def _compare_refusals(self) -> None:
        empty = json.dumps({"description": "no reference and no documents"}).encode()
        calls: dict[str, Callable[[Side], Answer]] = {
            "without credentials": lambda side: self._sign(side, b"{}", logged_in=False),
            "a body that is no JSON": lambda side: self._sign(side, b"{"),
            "a body without what is mandatory": lambda side: self._sign(side, empty),
            "an unknown operation": lambda side: side.call(*side.route("status_by_id", id=NO_ID)),
            "the result of an unknown operation": lambda side: side.call(
                *side.route("result_by_id", id=NO_ID, contentInResponse="false")
            ),
        }
        for number, (place, call) in enumerate(calls.items()):
            old, new = self._both(number, call)
            self.findings.take(answer_findings(place, old, new, {}))

    @staticmethod
    def _sign(side: Side, body: bytes, *, logged_in: bool = True) -> Answer:
        return side.call(*side.route("sign_json"), body, JSON, logged_in=logged_in)

    # --- 2 documents --------------------------------------------------------------------------------------------------

    def _compare_document(self, number: int, document: Document) -> None:
        content = document.path.read_bytes()
        old, new = self._both(
            number, lambda side: self._sign(side, self._body(side, document, content, "sync", number))
        )
        self._take(f"{document.name}, synchronous", document, content, old, new, ("sync", number))
        self.times.add("synchronous request", old, new)
        if self._also_async:
            self._compare_async(number, document, content)

    def _compare_async(self, number: int, document: Document, content: bytes) -> None:
        place = f"{document.name}, asynchronous"

        def register(side: Side) -> Answer:
            return side.call(*side.route("register_json"), self._body(side, document, content, "async", number), JSON)

        old, new = self._both(number, register)
        self.findings.take(answer_findings(f"{place}, register", old, new, self._own(("async", number))))
        self.times.add("register", old, new)
        before, now = self._both(number, lambda side: self._followed(side, number))
        self.findings.take(answer_findings(f"{place}, status", before, now, self._own(("async", number))))
        self.times.add("until it is finished", before, now)
        results = self._both(number, lambda side: self._get(side, "result_by_reference", number))
        self._take(f"{place}, result", document, content, *results, ("async", number))

    def _get(self, side: Side, route: str, number: int, headers: Mapping[str, str] | None = None) -> Answer:
        reference = quote(self._reference(side, "async", number), safe="")
        return side.call(*side.route(route, externalReference=reference), headers=headers)

    def _followed(self, side: Side, number: int) -> Answer:
        """The status once the operation has finished, or the last one. Its seconds are those of the whole wait."""
        began = time.monotonic()
        while True:
            answer = self._get(side, "status_by_reference", number, {"Prefer": f"wait={WAIT_SECONDS}"})
            value = answer.json()
            newest = value[0] if isinstance(value, list) and value else value
            status = newest.get("status") if isinstance(newest, dict) else None
            waited = time.monotonic() - began
            if answer.status != 200 or status in FINISHED or waited > FINISH_SECONDS:
                return Answer(answer.status, answer.headers, answer.body, waited, answer.problem)
            time.sleep(POLL_SECONDS)

    def _take(
        self, place: str, document: Document, content: bytes, old: Answer, new: Answer, request: tuple[str, int]
    ) -> None:
        """Compares two replies with signed documents, and the signatures in them."""
        self.findings.take(answer_findings(place, old, new, self._own(request)))
        for before, now in zip(documents_of(old), documents_of(new), strict=False):
            files = [
                self._stored(side, document, one, request[0])
                for side, one in zip(self._sides, (before, now), strict=True)
            ]
            if None in files:
                continue
            self.compared += 1
            tables = [properties_of(path, content) for path in files if path is not None]
            for number, (one, other) in enumerate(zip(*tables, strict=False)):
                where = place if number == 0 else f"{place}, signature {number}"
                self.findings.take(compared(where, one, other, noted=NOTED))

    def _stored(self, side: Side, document: Document, entry: Mapping[str, Any], way: str) -> Path | None:
        """The signed document as a file, or None if there is none."""
        try:
            signed = b64decode(str(entry["signedContent"]), validate=False)
        except (LookupError, Base64Error):
            return None
        if not signed:
            return None
        folder = self._out / side.name / way
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / (document.name + (".p7s" if signed[:1] == b"\x30" else ""))
        path.write_bytes(signed)
        return path

    # --- requests -----------------------------------------------------------------------------------------------------

    def _reference(self, side: Side, way: str, number: int) -> str:
        return f"{self._prefix} {way} {number} {side.name}"

    def _own(self, request: tuple[str, int]) -> dict[str, str]:
        """The references of a request on both sides, which stand for the same thing."""
        return {self._reference(side, *request): "(its reference)" for side in self._sides}

    def _body(self, side: Side, document: Document, content: bytes, way: str, number: int) -> bytes:
        reference = self._reference(side, way, number)
        entry = {
            "documentRequest": {
                "externalReference": f"{self._prefix} document",
                "name": document.name,
                "contentType": document.media_type,
                "base64Content": b64encode(content).decode(),
            },
            "signatureInfo": {"signatureType": document.signature_type, **self._info.get(document.signature_type, {})},
        }
        request = {"externalReference": reference, "description": "batchseal compare", "documents": [entry]}
        return json.dumps(request).encode()
