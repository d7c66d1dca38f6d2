"""What happens to spill files: flipped bits, unsynced writes, uploads that break off, duplicates."""

import random
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path

from harness.service import RunningService
from harness.stored import StoredPayload, stored_payloads
from tests.adversity.drills.judge import judge_result, own_bytes, result_of
from tests.adversity.drills.registry import Figures, Trial, drill, within
from tests.support.service import FAST, batch, connect, documents, finished, head, post, spill_files, until

WARM_UP = 20
MOST_GROWTH_MB = 10


@drill("bit-flips", quick=30, short=1000, long=20_000)
def bit_flips(folder: Path) -> Iterator[Trial]:
    """One bit of a finished operation's payload is flipped, the result fetched, the bit put back.

    One payload is a file, and one a part of a segment.
    """
    contents = documents(6)
    chance = random.Random(12)
    with RunningService(*FAST, "--workers=1", folder=folder) as service:
        targets: list[tuple[int, list[dict[str, str]], StoredPayload]] = []
        names = count()

        def next_is_in(suffix: str) -> bool:
            """Hands in one more batch. Keeps it as a target if its payload lies in a file of this kind."""
            name, known = f"target {next(names)}", {one.id for one in stored_payloads(folder / "temp")}
            assert post(service, batch(name, contents))[0] == 200
            operation = finished(service, name).operation_id
            new = [one for one in stored_payloads(folder / "temp") if one.id not in known]
            # Where the worker did not learn the certificate in time, the signer has prepared the documents: in a smaller payload.
            payload = max(new, key=lambda one: one.length)
            if payload.path.suffix == suffix:
                targets.append((operation, entries(service, operation), payload))
            return payload.path.suffix == suffix

        assert next_is_in(".spill"), "the first payload lies in a segment that nobody can have made"
        # A segment is there before it can be used: payloads become files until its space has reached the disk.
        until(lambda: next_is_in(".segment"), within(30), 0.2)

        def trial(number: int) -> Figures:
            operation, good, payload = targets[number % 2]
            path, place = payload.path, payload.offset + chance.randrange(payload.length)
            bit = 1 << chance.randrange(8)
            flip(path, place, bit)
            try:
                answer = result_of(service, operation)
                found = entries_of(answer)
            finally:
                flip(path, place, bit)
            refused = [ordinal for ordinal, entry in enumerate(found) if entry["signStatus"] != "SIGNED"]
            for ordinal, entry in enumerate(found):
                if ordinal in refused:
                    assert "signedContent" not in entry or not entry["signedContent"], "damaged bytes were sent"
                    assert entry["signError"] == "STORAGE_SERVICE_GLOBAL_ERROR", entry
                    assert entry["causeMessage"]
                else:
                    assert entry["signedContent"] == good[ordinal]["signedContent"], (
                        f"byte {place}: damage went through"
                    )
            # A record that several documents share takes them all along; else it is one document at most.
            assert len(refused) in (0, 1, len(found)), f"byte {place}: {refused} of {len(found)}"
            assert answer["status"] == ("EXECUTED" if not refused else "EXECUTION_FAILED")
            return {"documents_refused": len(refused) if len(refused) < len(found) else 1}

        yield trial


def flip(path: Path, place: int, bit: int) -> None:
    with path.open("r+b") as file:
        file.seek(place)
        byte = file.read(1)[0]
        file.seek(place)
        file.write(bytes([byte ^ bit]))


def entries_of(answer: dict[str, object]) -> list[dict[str, str]]:
    found = answer["documentList"]
    assert isinstance(found, list)
    return found


def entries(service: RunningService, operation: int) -> list[dict[str, str]]:
    return entries_of(result_of(service, operation))


@drill("upload-abort", quick=20, short=200, long=2000)
def upload_abort(folder: Path) -> Iterator[Trial]:
    """Uploads end half-way, in each way a connection can: nothing of them is left."""
    body = batch("abort", documents(40, size_bytes=100_000))
    chance = random.Random(13)
    with RunningService(*FAST, folder=folder) as service:
        # Growth is what comes on top of what a worker holds for one upload: its windows and its compressor, filled once.
        for _ in range(WARM_UP):
            abort(service, body, len(body) - 1, reset=True)
            until(lambda: not spill_files(folder), within(5))
        before = own_bytes(service)

        def growth_mb() -> float:
            return (own_bytes(service) - before) / 1e6

        def trial(number: int) -> Figures:
            abort(service, body, chance.randrange(1, len(body)), reset=number % 2 == 0)
            gone = until(lambda: not spill_files(folder), within(5))
            figures = {"seconds_until_gone_max": gone}
            if number % 20 == 19:
                # The last uploads may still be held; that goes, and what was lost of their memory stays.
                until(lambda: growth_mb() < MOST_GROWTH_MB, within(5))
                figures["memory_growth_mb_max"] = growth_mb()
            return figures

        yield trial
        assert post(service, batch("after", documents(3)))[0] == 200


def abort(service: RunningService, body: bytes, at: int, *, reset: bool) -> None:
    connection = connect(service)
    try:
        connection.sendall(head(service, len(body)) + body[:at])
        if reset:
            # Closing with zero linger sends RST in place of FIN.
            connection.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SOL_SOCKET, SO_LINGER
    finally:
        connection.close()


@drill("duplicates", quick=2, short=200, long=2000)
def duplicates(folder: Path) -> Iterator[Trial]:
    """64 callers submit the same reference at once: one gets it, the others are told who has it."""
    contents = documents(1, size_bytes=5_000)
    with RunningService(*FAST, "--workers=2", folder=folder) as service:

        def trial(number: int) -> Figures:
            reference = f"twin {number}"
            body = batch(reference, contents)
            answers: list[int] = []
            barrier = threading.Barrier(64)

            def submit() -> None:
                barrier.wait()
                with suppress(OSError):
                    answers.append(post(service, body)[0])

            threads = [threading.Thread(target=submit) for _ in range(64)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert Counter(answers) == {200: 1, 409: 63}, Counter(answers)
            return {}

        yield trial
        last = finished(service, "twin 0", 30)
        judge_result(service, last.operation_id, contents)
