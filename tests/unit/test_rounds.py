"""Whose duty what is, where several instances share a database."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from harness.waiting import eventually

from batchseal.errors import DatabaseUnavailable, PayloadUnavailable
from batchseal.signer.duties.expiry import Expiry
from batchseal.signer.duties.rounds import Retention, Rounds
from batchseal.store.upkeep import Clock
from batchseal.system.futures import in_pool

RETENTION = Retention(fetched=1, unfetched=2, documents=3, references=4, audit=5, texts=6)


class Noted:
    """Stands for all parts of a round, and notes what is asked of them."""

    is_own = False

    def __init__(self, *, backed_up: bool = False) -> None:
        self.calls: list[str] = []
        self._backed_up = backed_up

    def __getattr__(self, name: str) -> Any:
        async def call(*values: Any, **options: Any) -> Any:
            self.calls.append(name + (" shared" if options.get("shared") else ""))
            return []

        return call

    async def free_references(self, seconds: float, after: int, at_most: int) -> tuple[int, int | None]:
        self.calls.append("free_references")
        return 0, None

    async def is_being_backed_up(self) -> bool:
        return self._backed_up

    async def clock(self) -> Clock:
        return Clock(datetime.now(UTC), None, None, None, None)


class Share:
    def __init__(self, *, upkeep: bool, payloads: bool) -> None:
        self.does_upkeep, self.does_payloads = upkeep, payloads
        self.said: dict[str, bool] = {}

    def comes_by(self, *, upkeep: bool, payloads: bool) -> None:
        self.said = {"upkeep": upkeep, "payloads": payloads}


COUNTED = ["count_stored", "count_rows_if_due", "purge_asked"]
OWN = [*COUNTED, "note_clock", "purge_due"]
SHARED = [*COUNTED, "purge_asked shared", "note_clock", "purge_due", "purge_due shared"]
UPKEEP = [
    "document_months",
    "signature_days",
    "remove_old_texts",
    "free_references",
    "export_and_drop",
    "drop_gone_instances",
]


@pytest.mark.parametrize(
    ("share", "done"),
    [
        (None, [*OWN, *UPKEEP]),
        (Share(upkeep=False, payloads=False), OWN),
        (Share(upkeep=True, payloads=False), [*OWN, *UPKEEP]),
        (Share(upkeep=False, payloads=True), SHARED),
    ],
    ids=["alone", "nothing for others", "the tables", "the payloads"],
)
async def test_a_round_does_what_is_this_instances(share: Share | None, done: list[str]) -> None:
    noted: Any = Noted()
    await Rounds(noted, noted, noted, noted, noted, RETENTION, shared=share).round()
    assert noted.calls == done


class StoreAway(Noted):
    """The payload store is out of reach, and the database is not."""

    def __getattr__(self, name: str) -> Any:
        noted = super().__getattr__(name)

        async def call(*values: Any, **options: Any) -> Any:
            found = await noted(*values, **options)
            if name in ("count_stored", "purge_asked", "purge_due"):
                raise PayloadUnavailable("the volume is not mounted")
            return found

        return call


async def test_while_the_payload_store_is_away_the_tables_are_looked_after_all_the_same() -> None:
    away: Any = StoreAway()
    share = Share(upkeep=True, payloads=True)
    await Rounds(away, away, away, away, away, RETENTION, shared=share).round()
    assert away.calls == [*SHARED, *UPKEEP]


class Hanging(Noted):
    """The volume of the payload store hangs: what asks it does not return before `go`."""

    def __init__(self) -> None:
        super().__init__()
        self.go = threading.Event()
        self.pool = ThreadPoolExecutor()

    def __getattr__(self, name: str) -> Any:
        noted = super().__getattr__(name)

        async def call(*values: Any, **options: Any) -> Any:
            found = await noted(*values, **options)
            if name == "count_stored":
                await in_pool(self.pool, self.go.wait)
            return found

        return call


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    hanging = Hanging()
    yield hanging
    hanging.go.set()
    hanging.pool.shutdown()


async def test_while_the_volume_hangs_the_tables_are_looked_after_and_the_payloads_left_to_others(
    hanging: Hanging,
) -> None:
    parts: Any = hanging
    share = Share(upkeep=True, payloads=True)
    rounds = Rounds(parts, parts, parts, parts, parts, RETENTION, shared=share, patience_seconds=0.05)
    await rounds.look()
    assert share.said == {"upkeep": True, "payloads": True}
    hanging.calls.clear()
    await rounds.round()
    assert hanging.calls == [*SHARED, *UPKEEP]
    await rounds.look()
    assert share.said == {"upkeep": True, "payloads": False}
    # One thread waits for the volume, however many rounds pass.
    hanging.calls.clear()
    await rounds.round()
    assert "count_stored" not in hanging.calls
    hanging.go.set()

    async def goes_on() -> bool:
        await rounds.look()
        return share.said["payloads"]

    await eventually(goes_on)
    await rounds.round()
    assert "count_stored" in hanging.calls


class Failing(Noted):
    """A duty has a fault."""

    async def count_stored(self) -> None:
        raise RuntimeError("a fault")


async def test_a_duty_that_fails_keeps_no_other_one() -> None:
    failing: Any = Failing()
    await Rounds(failing, failing, failing, failing, failing, RETENTION).round()
    assert failing.calls == [*OWN[1:], *UPKEEP]


async def test_nothing_is_dropped_while_a_backup_reads_the_tables() -> None:
    noted: Any = Noted(backed_up=True)
    await Rounds(noted, noted, noted, noted, noted, RETENTION).round()
    dropped = {"document_months", "signature_days", "export_and_drop"}
    assert noted.calls == [*OWN, *(call for call in UPKEEP if call not in dropped)]


async def test_references_are_freed_once_a_day() -> None:
    """That reads all operations, however many there are by now."""
    noted: Any = Noted()
    rounds = Rounds(noted, noted, noted, noted, noted, RETENTION)
    await rounds.round()
    await rounds.round()
    assert (noted.calls.count("remove_old_texts"), noted.calls.count("free_references")) == (2, 1)


async def test_references_that_could_not_be_freed_are_freed_after_a_pause() -> None:
    class Away(Noted):
        tries = 0

        async def free_references(self, seconds: float, after: int, at_most: int) -> tuple[int, int | None]:
            self.tries += 1
            if self.tries == 1:
                raise DatabaseUnavailable
            return 1, None

    away: Any = Away()
    at_once, patient = Expiry(away, again_seconds=0), Expiry(away)
    for expiry in (at_once, patient):
        away.tries = 0
        with pytest.raises(DatabaseUnavailable):
            await expiry.free_references(1)
        await expiry.free_references(1)
        await expiry.free_references(1)
        assert away.tries == (2 if expiry is at_once else 1)


async def test_a_pass_over_the_references_goes_on_in_the_next_round_where_it_stopped() -> None:
    """So that the other duties do not wait for all operations. A failure loses nothing of it either."""
    asked = list[int]()

    class Many(Noted):
        async def free_references(self, seconds: float, after: int, at_most: int) -> tuple[int, int | None]:
            asked.append(after)
            if len(asked) == 2:
                raise DatabaseUnavailable
            return 1, None if after == 300 else after + 100

    many: Any = Many()
    expiry = Expiry(many, again_seconds=0, round_seconds=0)
    for _ in range(6):
        with suppress(DatabaseUnavailable):
            await expiry.free_references(1)
    assert asked == [0, 100, 100, 200, 300]
