"""Two builds side by side, the later one with a further migration and a further field: forward, back, and forward for good."""

import asyncio
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.service import RunningService
from harness.several import Several, several
from tests.adversity.drills.registry import Figures, Trial, drill
from tests.support.later_build import ENCODING, FIELD, VERSION, make_later_build
from tests.support.mixed_calls import add_stranger, callers_of, run_all

CALLERS, CALLS = 2, 90


class Pair:
    """Two instances. Each can be stopped in good order and started again as another build."""

    def __init__(self, rig: Several) -> None:
        self._rig = rig
        self._running: dict[str, RunningService] = {}
        self.calls = 0

    def start(self, name: str, environment: Mapping[str, str] | None = None) -> None:
        if name in self._running:
            self._running[name].process.terminate()
            assert self._running[name].process.wait(40) == 0
        flags = *self._rig.roles, "--drain-seconds=0"
        self._running[name] = self._rig.start(name, *flags, environment=environment)

    def fetch(self, statement: str) -> list[Any]:
        return asyncio.run(self._rig.fetch(statement))

    def versions(self) -> list[str]:
        rows = self.fetch("SELECT version FROM instances WHERE left_at IS NULL ORDER BY version")
        return [row["version"] for row in rows]

    def call(self, step: str) -> None:
        """Mixed calls at both."""
        made, wrong = run_all(callers_of(self._rig, self._running, CALLERS, step), CALLS)
        self.calls += made.total()
        assert not wrong, f"{step}: {len(wrong)} of {made.total()} answers are wrong, such as {wrong[0]}"

    def records(self) -> list[bytes]:
        """What the rows say of their payloads, the oldest first."""
        return [row["payload_record"] for row in self.fetch("SELECT payload_record FROM operations ORDER BY id")]


@drill("two-builds", quick=1, short=2, long=10, apart=True, store="shared, local")
def two_builds(folder: Path) -> Iterator[Trial]:
    """What one build writes the other one reads; what it could not read is written once nobody is left who cannot."""
    later = make_later_build(folder / "later")

    def trial(number: int) -> Figures:
        place, began = folder / f"trial {number}", time.monotonic()
        place.mkdir()
        place.chmod(0o711)
        with several(place, shared=number % 2 == 0) as rig:
            add_stranger(rig.sandbox.services)
            pair = Pair(rig)
            pair.start("a")
            pair.start("b")
            pair.call("one build")
            pair.start("b", later)
            assert VERSION in pair.versions()
            pair.call("forward")
            assert any(FIELD.encode() in record for record in pair.records())
            pair.start("b")
            assert VERSION not in pair.versions()
            pair.call("back")
            pair.start("b", later)
            pair.call("forward again")
            early = pair.records()
            assert not any(record.startswith(ENCODING) for record in early), "written while the other build was there"
            pair.start("a", later)
            assert pair.versions() == [VERSION] * 2
            pair.call("for good")
            assert any(record.startswith(ENCODING) for record in pair.records()[len(early) :])
            unfinished = pair.fetch("SELECT id FROM operations WHERE status <> 2")
            assert not unfinished, f"{len(unfinished)} operations are not signed"
        return {"calls_max": pair.calls, "seconds_max": time.monotonic() - began}

    yield trial
