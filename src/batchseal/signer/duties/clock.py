"""Notices that the database's clock jumped: against the machine's uptime, which no clock setting moves."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from batchseal.store.upkeep import Clock

JUMP_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Verdict:
    jump_seconds: float  # 0: none that matters
    purge_not_before: datetime | None


def judge(clock: Clock, boot_id: str, uptime_seconds: float, retention_seconds: float) -> Verdict:
    """A jump suspends purging for one retention period from now on, by the new time: nobody knows which one is right.

    After a restart of the machine the time in between is unknown, and only what is noted counts.
    """
    if clock.seen_at is not None and clock.uptime_seconds is not None and clock.boot_id == boot_id:
        passed = (clock.now - clock.seen_at).total_seconds()
        jump = passed - (uptime_seconds - clock.uptime_seconds)
        if abs(jump) > JUMP_SECONDS:
            return Verdict(jump, clock.now + timedelta(seconds=retention_seconds))
    if clock.purge_not_before is not None and clock.purge_not_before <= clock.now:
        return Verdict(0.0, None)
    return Verdict(0.0, clock.purge_not_before)


def uptime() -> tuple[str, float]:
    """This boot's id, and how long ago it began. From /proc: library calls may be told another time."""
    seconds = float(Path("/proc/uptime").read_text("ascii").split()[0])
    return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip(), seconds
