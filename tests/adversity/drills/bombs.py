"""PDFs that are made to cost the planner memory or time: whatever they are, it stays within its bounds, and so does a service."""

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from harness.service import RunningService, measure
from tests.adversity.drills.registry import Figures, Trial, drill, within
from tests.support.pdf_bombs import BOMBS, LARGEST_BYTES, MEMORY_BASE, MEMORY_FACTOR, check, cost
from tests.support.service import ASYNC, FAST, SYNC, batch, connect, documents, head, reply

SIZES = (LARGEST_BYTES - (64 << 10), 64 << 10)
# Every so many trials a service gets the bombs. It books one plan of four of them, and holds their upload beside it: base64, two
# batches, and what the allocator keeps.
SERVICE_EVERY, SENT, SENT_BYTES, UPLOAD_BYTES = 12, 4, 4 << 20, 64 << 20
NEIGHBOUR_SECONDS = 10


def bomb(number: int) -> bytes:
    """Every bomb in its sizes first. Then bombs of any size, a part of which is overwritten by a part of another."""
    names = sorted(BOMBS)
    if number < len(names) * len(SIZES):
        return BOMBS[names[number % len(names)]](SIZES[number // len(names)])
    chance = random.Random(number)
    whole = bytearray(BOMBS[chance.choice(names)](chance.randrange(1 << 12, LARGEST_BYTES - (64 << 10))))
    other = BOMBS[chance.choice(names)](chance.randrange(1 << 10, 1 << 16))
    at = chance.randrange(len(whole))
    whole[at : at + len(other)] = other
    return bytes(whole[:LARGEST_BYTES])


def send(service: RunningService, path: str, body: bytes, timeout: float) -> int:
    with connect(service, timeout) as connection:
        connection.sendall(head(service, len(body), path, Connection="close") + body)
        status, _, said = reply(connection, "POST")
        assert status in (200, 503), said[:300]
        return status


def through_service(service: RunningService, number: int) -> Figures:
    """One kind of bombs in one request, and a neighbour that signs meanwhile."""
    name = sorted(BOMBS)[number // SERVICE_EVERY % len(BOMBS)]
    body = batch(f"bombs {number}", [BOMBS[name](SENT_BYTES)] * SENT)
    before = measure(service.process.pid)["service"]
    memory = service.watch_memory()
    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(send, service, ASYNC, body, within(60))
        status = send(service, SYNC, batch(f"neighbour {number}", documents(1)), within(NEIGHBOUR_SECONDS))
        sending.result()
    memory.stop()
    assert status == 200, f"the neighbour of {name} was refused"
    grown = max(0, memory.peak["service"] - before)
    assert grown <= MEMORY_FACTOR * SENT_BYTES + MEMORY_BASE + UPLOAD_BYTES, f"{name} took {grown} bytes of the service"
    return {"service_mb_max": grown / (1 << 20)}


@drill("planner-bombs", quick=4, short=3 * len(BOMBS), long=2_000)
def planner_bombs(folder: Path) -> Iterator[Trial]:
    (folder / "service").mkdir()
    with ExitStack() as stack:
        services: list[RunningService] = []

        def trial(number: int) -> Figures:
            if number % SERVICE_EVERY == SERVICE_EVERY - 1:
                if not services:
                    services.append(stack.enter_context(RunningService(*FAST, folder=folder / "service")))
                    send(services[0], SYNC, batch("first", documents(1)), within(NEIGHBOUR_SECONDS))
                return through_service(services[0], number)
            original = bomb(number)
            found = cost(original, folder)
            check(original, found)
            allowed = MEMORY_FACTOR * len(original) + MEMORY_BASE
            return {
                "seconds_max": found.seconds,
                "memory_of_bound_max": found.memory / allowed,
                "memory_mb_max": found.memory / (1 << 20),
            }

        yield trial
