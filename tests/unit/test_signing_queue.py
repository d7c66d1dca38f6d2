"""How much the signer takes on at once, and which results it sends to the worker that waits."""

import asyncio
from collections.abc import Collection
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from harness.waiting import eventually, turns

from batchseal.document import DocumentOutcome, Evidence
from batchseal.errors import LeaseLost, PayloadDamaged, UpstreamRateLimited
from batchseal.operation import Caller, ContentType, DocumentStatus, Mode, OperationStatus
from batchseal.signer.endings import result_of
from batchseal.signer.late import Late
from batchseal.signer.pace import Pace
from batchseal.signer.queue import STORED_LATER_SECONDS, SigningQueue
from batchseal.signer.work import Progress
from batchseal.store.rows import ClaimedOperation, DocumentRow, OperationEnd, OperationRow
from batchseal.system.backoff import LONGEST_ASKED_SECONDS, Backoff

ROW = OperationRow(
    *(1, UUID(int=1), "A", "r", "d", Mode.SYNC, OperationStatus.PENDING_EXECUTION, datetime.now(UTC), None),
    *(UUID(int=2), "h", 1, 2, 0, 0, None, False),
)


class SlowStore:
    """Answers a claim when it may."""

    instance = UUID(int=1)

    def __init__(self) -> None:
        self.may_answer = asyncio.Event()
        self.asked: list[int] = []

    async def claim_one(self, operation_id: int, _: float) -> ClaimedOperation:
        self.asked.append(operation_id)
        await self.may_answer.wait()
        return ClaimedOperation(replace(ROW, id=operation_id), 1, 0)

    async def is_finished(self, _: int) -> bool:
        return False


class Endless:
    """A `Signing` whose runs never end."""

    def __init__(self) -> None:
        self.running: list[int] = []
        self.late = Late()

    async def run(self, claimed: ClaimedOperation, _: Caller) -> Any:
        self.running.append(claimed.row.id)
        await asyncio.Event().wait()


async def test_operations_that_come_at_once_do_not_take_more_room_than_there_is() -> None:
    store, signing = SlowStore(), Endless()
    queue = SigningQueue(store, None, signing, pace=Pace(operations=2))  # type: ignore[arg-type]
    waking = [asyncio.create_task(queue.wake(number, None)) for number in range(1, 6)]
    await asyncio.sleep(0)
    store.may_answer.set()
    await asyncio.gather(*waking)
    await queue.wake(6, None)
    await asyncio.sleep(0)
    assert signing.running == [1, 2]
    assert store.asked == [1, 2]
    await queue.stop(0)


class Backlog(SlowStore):
    """Has many operations of one client service in front of one of another."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = [(number, "greedy") for number in range(100, 150)] + [(150, "other")]

    async def claim(
        self, limit: int, _: float, *, woken: Any, at_work: Any, passed_over: Collection[str], left_to_others: Any
    ) -> list[ClaimedOperation]:
        found = [one for one in self.waiting if one[1] not in passed_over][:limit]
        self.waiting = [one for one in self.waiting if one not in found]
        return [ClaimedOperation(replace(ROW, id=number, client_service=name), 1, 0) for number, name in found]


async def test_an_operation_does_not_wait_for_the_backlog_of_another_client_service() -> None:
    store, signing = Backlog(), Endless()
    pace = Pace(operations=8, claimed=4, share_percent=25)
    queue = SigningQueue(store, None, signing, pace=pace, is_alone=lambda: False)  # type: ignore[arg-type]
    looking = asyncio.create_task(queue.run())
    await eventually(lambda: 150 in signing.running)
    assert len(signing.running) <= 9
    store.may_answer.set()
    await queue.wake(200, None, None, "third")  # one that its worker hands over
    await turns()
    assert signing.running[-1] == 200
    await queue.wake(201, None, None, "greedy")
    await turns()
    assert 201 not in signing.running
    looking.cancel()
    await queue.stop(0)


class WorkedOnElsewhere(SlowStore):
    """Has nothing to claim, and notes which operations were said to be woken."""

    def __init__(self) -> None:
        super().__init__()
        self.may_answer.set()
        self.woken: list[set[int]] = []

    async def claim(self, limit: int, _: float, *, woken: Collection[int], **options: Any) -> list[ClaimedOperation]:
        self.woken.append(set(woken))
        return []


class Losing(Endless):
    """A `Signing` whose runs end as soon as they may."""

    def __init__(self) -> None:
        super().__init__()
        self.may_end = asyncio.Event()

    async def run(self, claimed: ClaimedOperation, _: Caller) -> Any:
        await self.may_end.wait()
        raise LeaseLost("somebody else works on it")


async def test_an_operation_that_came_without_room_and_was_claimed_elsewhere_is_forgotten() -> None:
    """Else each look at the database would ask for all of them, for as long as the process lives."""
    store, signing = WorkedOnElsewhere(), Losing()
    queue = SigningQueue(store, None, signing, pace=Pace(operations=1, look_seconds=0.01))  # type: ignore[arg-type]
    await queue.wake(1, None)
    await queue.wake(2, None)
    looking = asyncio.create_task(queue.run())
    await turns()
    assert store.woken == []
    signing.may_end.set()
    await eventually(lambda: len(store.woken) >= 2)
    assert (store.woken[0], store.woken[-1]) == ({2}, set())
    looking.cancel()
    await queue.stop(0)


def ended(stamp_bytes: int, documents: Collection[int] = range(100)) -> tuple[ClaimedOperation, Progress]:
    rows = [
        DocumentRow(n, f"{n}", "n.pdf", ContentType.PDF, DocumentStatus.RECEIVED, None, None, 9, 0) for n in documents
    ]
    progress = Progress(ended=OperationEnd(0, datetime.now(UTC)))
    progress.outcomes = {n: DocumentOutcome(n, 5) for n in documents}
    progress.evidence = {n: Evidence(b"v" * 512, (b"t" * stamp_bytes,)) for n in documents}
    return ClaimedOperation(ROW, 1, 0, documents=rows), progress


def test_a_result_with_much_evidence_is_read_by_the_worker() -> None:
    """The answer would be longer than a message may be, and many such results would fill the memory of the signer."""
    result = result_of(*ended(1000))
    assert result is not None
    assert len(result[1]) == 100
    assert result_of(*ended(8000)) is None
    assert result_of(*ended(8000, [0])) is not None


class Refusing:
    """A `Signing` whose signing service asks for a pause."""

    late = Late()

    def __init__(self, asked_seconds: float) -> None:
        self.asked_seconds = asked_seconds

    async def run(self, claimed: ClaimedOperation, _: Caller) -> Progress:
        raise UpstreamRateLimited("429", retry_after_seconds=self.asked_seconds)


class Postponing(SlowStore):
    """Notes for how long operations are postponed."""

    def __init__(self, age: timedelta) -> None:
        super().__init__()
        self.may_answer.set()
        self.row = replace(ROW, created_at=datetime.now(UTC) - age)
        self.pauses: list[float] = []

    async def claim_one(self, operation_id: int, _: float) -> ClaimedOperation:
        return ClaimedOperation(replace(self.row, id=operation_id), 1, 0)

    async def postpone(self, operation_id: int, fence: int, pause: float) -> None:
        self.pauses.append(pause)


@pytest.mark.parametrize(
    ("asked_seconds", "patience_seconds", "age", "least", "most"),
    [
        (100.0, 86_400.0, timedelta(), 100, 100),
        (86_400.0, 86_400.0, timedelta(), LONGEST_ASKED_SECONDS, LONGEST_ASKED_SECONDS),
        (86_400.0, 600.0, timedelta(seconds=100), 400, 500),  # until patience ends
        (86_400.0, 600.0, timedelta(seconds=599), 1, 1),  # never sooner than without having been asked
    ],
)
async def test_nobody_can_ask_for_a_pause_that_outlasts_patience(
    asked_seconds: float, patience_seconds: float, age: timedelta, least: float, most: float
) -> None:
    store = Postponing(age)
    pace = Pace(patience_seconds=patience_seconds, between_tries=Backoff(1.0, 60.0))
    queue = SigningQueue(store, None, Refusing(asked_seconds), pace=pace)  # type: ignore[arg-type]
    await queue.wake(1, None)
    await eventually(lambda: bool(store.pauses))
    assert least <= store.pauses[0] <= most
    await queue.stop(1)


class SharedStore(SlowStore):
    """Has one operation, whose payload lies in a store that other instances read too, and notes what becomes of it."""

    shared = "s3"

    def __init__(self, row: OperationRow, instance: UUID) -> None:
        super().__init__()
        self.row = replace(row, payload_store="s3")
        self.instance = instance
        self.steps: list[str] = []
        self.claims: list[dict[str, Any]] = []

    async def claim(self, limit: int, _: float, **asked: Any) -> list[ClaimedOperation]:
        self.claims.append(asked)
        return []

    async def claim_one(self, operation_id: int, _: float) -> ClaimedOperation:
        return ClaimedOperation(replace(self.row, id=operation_id), 1, 0)

    async def give_back(self, operation_id: int, fence: int) -> bool:
        self.steps.append("given back")
        return True

    async def postpone(self, operation_id: int, fence: int, pause: float) -> None:
        self.steps.append("postponed")

    async def documents(self, operation_id: int, created_at: datetime) -> list[DocumentRow]:
        return []

    async def finish(self, *_: Any) -> None:
        self.steps.append("ended")


class LaneElsewhere:
    """A `Presence`, and its lanes: another instance makes the calls of every credential."""

    @property
    def lanes(self) -> "LaneElsewhere":
        return self

    def others(self) -> int:
        return 1

    async def is_here(self, credential: str) -> bool:
        return False

    def elsewhere(self) -> set[str]:
        return {"c"}


class OfOneCredential:
    """An `Upstream`."""

    async def credential(self, caller: Caller) -> Any:
        return SimpleNamespace(credential_id="c")


class Settling:
    """A `Signing` that only puts payloads into the store, which takes a while."""

    late = Late()

    def __init__(self, steps: list[str]) -> None:
        self.steps = steps

    async def make_durable(self, claimed: ClaimedOperation, _: Caller) -> None:
        await turns()
        self.steps.append("put into the store")


@pytest.mark.parametrize(
    ("instance", "steps"),
    [(ROW.instance, ["put into the store", "given back"]), (UUID(int=9), ["given back"])],
    ids=["taken in here", "taken in elsewhere"],
)
async def test_an_operation_is_left_to_another_instance_once_that_one_finds_its_payload(
    instance: UUID, steps: list[str]
) -> None:
    """The payload of a synchronous operation is on the disk of its instance first. Elsewhere it would count as lost."""
    store = SharedStore(ROW, instance)
    parts: Any = store, OfOneCredential(), Settling(store.steps)
    presence: Any = LaneElsewhere()
    queue = SigningQueue(*parts, presence=presence)
    await queue.wake(1, None)
    await eventually(lambda: "given back" in store.steps)
    assert store.steps == steps
    await queue.stop(1)


async def test_what_another_instance_signs_is_left_to_it_and_the_rest_of_its_client_service_is_not() -> None:
    """The database knows what nobody else can sign: what has a token of its own, and what lies in a folder of its own."""
    store = SharedStore(ROW, ROW.instance)
    parts: Any = store, OfOneCredential(), Settling(store.steps)
    presence: Any = LaneElsewhere()
    queue = SigningQueue(*parts, presence=presence)
    await queue.wake(1, None)
    await eventually(lambda: "given back" in store.steps)
    looking = asyncio.create_task(queue.run())
    await eventually(lambda: bool(store.claims))
    assert (store.claims[0]["left_to_others"], store.claims[0]["passed_over"]) == (["A"], [])
    looking.cancel()
    await queue.stop(1)


class Missing:
    """A `Signing` that does not find the payload."""

    late = Late()

    async def run(self, claimed: ClaimedOperation, _: Caller) -> Progress:
        raise PayloadDamaged("the stored payload cannot be opened: there is no such object")


@pytest.mark.parametrize(
    ("instance", "mode", "age_seconds", "step"),
    [
        (UUID(int=9), Mode.SYNC, 0.0, "postponed"),
        (UUID(int=9), Mode.SYNC, STORED_LATER_SECONDS, "ended"),
        (UUID(int=9), Mode.ASYNC, 0.0, "ended"),
        (ROW.instance, Mode.SYNC, 0.0, "ended"),
    ],
)
async def test_a_payload_that_another_instance_may_still_have_on_its_disk_is_not_lost_yet(
    instance: UUID, mode: Mode, age_seconds: float, step: str
) -> None:
    created_at = datetime.now(UTC) - timedelta(seconds=age_seconds)
    store = SharedStore(replace(ROW, mode=mode, created_at=created_at), instance)
    signing: Any = Missing()
    queue = SigningQueue(store, None, signing)  # type: ignore[arg-type]
    await queue.wake(1, None)
    await eventually(lambda: bool(store.steps))
    assert store.steps == [step]
    await queue.stop(1)
