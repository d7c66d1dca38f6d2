"""Callers that keep a service busy, and remember what they were told."""

import itertools
import json
import threading
import time
from contextlib import suppress
from typing import Any

from harness.service import RunningService
from harness.waiting import until
from tests.adversity.drills.registry import within
from tests.support.service import BASE, SYNC, batch, documents, get, post

CALLERS = 3


class Load:
    """Submits until `end`, or as long as the service answers. Without a pace each caller waits for the end of what it sent."""

    def __init__(
        self, service: RunningService, contents: list[bytes], batches_a_second: float = 0.0, *, sync: bool = False
    ) -> None:
        """With `sync` the first caller waits for its results in the request itself."""
        self.acknowledged: list[str] = []
        self.results: dict[str, list[str]] = {}  # signed contents that the first caller has got
        self.seen_finished: list[str] = []
        self._service, self._contents = service, contents
        self._pause = CALLERS / batches_a_second if batches_a_second else 0.0
        self._sync = sync
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._submit, args=(caller,), daemon=True) for caller in range(CALLERS)
        ]
        for thread in self._threads:
            thread.start()

    def _submit(self, caller: int) -> None:
        count, due = 0, time.monotonic() + caller * self._pause / CALLERS
        while not self._ended.wait(max(0.0, due - time.monotonic()) if self._pause else 0.0):
            reference = f"caller {caller} {count}"
            count += 1
            due += self._pause
            try:
                self._send(caller, reference)
            except OSError:
                # A connection that breaks before the reply is no acknowledgement.
                time.sleep(0.05)

    def _send(self, caller: int, reference: str) -> None:
        if self._sync and caller == 0:
            self._get_result(reference, self._contents)
            return
        if post(self._service, batch(reference, self._contents))[0] == 200:
            self.acknowledged.append(reference)
        if not self._pause and self._is_finished(reference):
            self.seen_finished.append(reference)

    def _get_result(self, reference: str, contents: list[bytes]) -> None:
        code, _, said = post(self._service, batch(reference, contents), SYNC)
        if code == 200:
            self.acknowledged.append(reference)
            self.results[reference] = signed_contents(json.loads(said))

    def _is_finished(self, reference: str) -> bool:
        """Waits for an end a while, as long as the service answers."""
        path = f"{BASE}/async/operation/status/withExternalReference/{reference.replace(' ', '%20')}"
        with suppress(AssertionError):
            until(lambda: b'"EXECUTED"' in get(self._service, path, 5)[2] or self._ended.is_set(), within(5))
            return not self._ended.is_set()
        return False

    def end(self) -> None:
        """Told to end; `join` waits for it."""
        self._ended.set()

    def join(self) -> None:
        for thread in self._threads:
            thread.join()


class Singles(Load):
    """Every caller waits in the request itself for one document, another one each time. `sent` are all, by their reference."""

    def __init__(self, service: RunningService) -> None:
        self.sent: dict[str, bytes] = {}
        self._numbers = itertools.count()
        self._document = documents(1)[0]
        super().__init__(service, [])

    def _send(self, caller: int, reference: str) -> None:
        # Equal documents would have one signature, and a comment at the end of a PDF changes nothing else of it.
        self.sent[reference] = self._document + b"%%%d\n" % next(self._numbers)
        try:
            self._get_result(reference, [self.sent[reference]])
        except ConnectionRefusedError:
            del self.sent[reference]
            raise

    @property
    def unanswered(self) -> dict[str, bytes]:
        """What was sent, and may have been lost with the answer."""
        return {reference: content for reference, content in self.sent.items() if reference not in self.results}


def signed_contents(answer: dict[str, Any]) -> list[str]:
    assert answer["status"] == "EXECUTED", answer["status"]
    return [entry["signedContent"] for entry in answer["documentList"]]


def full_load(service: RunningService, contents: list[bytes], seconds: float) -> float:
    """Batches that come to their end a second, when each caller sends its next one at once. It takes longer where none ends."""
    began, load = time.monotonic(), Load(service, contents)
    time.sleep(seconds)
    try:
        until(lambda: load.seen_finished, within(60))
        return len(load.seen_finished) / (time.monotonic() - began)
    finally:
        load.end()
        load.join()
