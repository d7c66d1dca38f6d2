"""A power cut: the disk is left with what was synced, and with whatever else the kernel happened to write."""

import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from harness.service import RunningService, descendants
from harness.tools import SMALL_VOLUME
from tests.adversity.drills import volumes
from tests.adversity.drills.judge import judge_result, living, result_of
from tests.adversity.drills.load import Load, signed_contents
from tests.adversity.drills.registry import Figures, Trial, drill, within
from tests.support.service import FAST, batch, client_of, documents, finished, payload_files, post, until

DISK_BYTES, PAGE_BYTES = 600 << 20, 4096
SITES = (
    "!payload-committed",
    "!registered",
    "!signatures-unrecorded:3",
    "!outcomes-recorded",
    "!outcomes-recorded:2",
    "!finished",
)
FLAGS = (*FAST, "--sandbox-multisign=20", "--sandbox-latency=50")
LoadT = TypeVar("LoadT", bound=Load)


@dataclass(frozen=True, slots=True)
class Cut(Generic[LoadT]):
    """`start` gives a service over a folder, `load` keeps it busy, and `judge` says what must be true of it after the cut.

    `sites` are where everything ends in every second pair of trials. `written_back` is the share of the files of which some
    pages were written that nobody had synced.
    """

    start: Callable[[Path], RunningService]
    load: Callable[[RunningService], LoadT]
    judge: Callable[[RunningService, LoadT], Figures]
    sites: Sequence[str]
    written_back: float = 0.5


@drill("unsynced", quick=2, short=30, long=200, needs=SMALL_VOLUME)
def unsynced(folder: Path) -> Iterator[Trial]:
    """Callers send batches, and one of them waits for its results."""
    contents = documents(40)

    def start(place: Path) -> RunningService:
        return RunningService(*FLAGS, folder=place)

    def load(service: RunningService) -> Load:
        return Load(service, contents, sync=True)

    def judge(service: RunningService, load: Load) -> Figures:
        judge_cut(service, load, contents)
        return {
            "acknowledged_max": len(load.acknowledged),
            "finished_before_max": len(load.seen_finished),
            "results_before_max": len(load.results),
        }

    yield from power_cuts(folder, Cut(start, load, judge, SITES))


def power_cuts(folder: Path, one: Cut[LoadT]) -> Iterator[Trial]:
    """Everything, the database included, stops at a random time or at a named site; the next start has a copy of the disk.

    The temp folder is on a file system of its own, whose image holds what reached the disk: that is what a sync brought
    there. Every other trial has no journal, so that a name counts only where its folder was synced. Of what was appended to
    spill files since, some pages are put back, as if the kernel had written them already.
    """
    chance = random.Random(14)

    def trial(number: int) -> Figures:
        image, copy = folder / f"disk {number}", folder / f"disk {number} after the cut"
        journal = number % 2 == 0
        volumes.make_image(image, DISK_BYTES, *(() if journal else ("-O", "^has_journal")))
        # The journal is not written every five seconds of its own accord, but when a sync asks for it.
        with volumes.mounted(image, folder / "before", "commit=600" if journal else "") as place:
            load, unsynced_bytes = cut(place, image, copy, number)
        volumes.repair(copy)
        with volumes.mounted(copy, folder / "after") as place, said_by_database(place):
            share = one.written_back
            lost = sum(put_some_back(place, name, data, chance, share) for name, data in unsynced_bytes.items())
            with one.start(place) as service:
                figures = one.judge(service, load)
                # And it goes on.
                assert post(service, batch("after the cut", documents(3)))[0] == 200
                assert finished(service, "after the cut", within(20)).status == "EXECUTED"
            shutil.rmtree(place / "work", ignore_errors=True)
        image.unlink()
        copy.unlink()
        return {"bytes_lost_max": lost, **figures}

    def cut(place: Path, image: Path, copy: Path, number: int) -> tuple[LoadT, dict[str, bytes]]:
        site = one.sites[number // 4 % len(one.sites)] if number // 2 % 2 else ""
        os.environ["BATCHSEAL_CRASH_AT"] = site
        try:
            with one.start(place) as service:
                load = one.load(service)
                # The copy is of one moment only if nobody writes meanwhile.
                if site:
                    until(lambda: service.process.poll() is not None, within(20))
                    until(lambda: not living(place), within(5))
                else:
                    time.sleep(chance.uniform(0.3, 2.5))
                    stand_still(service)
                volumes.copy_of_disk(image, copy)
                appended = {path.name: path.read_bytes() for path in payload_files(place)}
                load.end()
                if not site:
                    service.kill()
                load.join()
        finally:
            os.environ.pop("BATCHSEAL_CRASH_AT", None)
        return load, appended

    yield trial


def stand_still(service: RunningService) -> None:
    """Stops all processes of the service. One that waits for its disk goes on until the disk has answered; so does this."""

    def family() -> set[int]:
        return {service.process.pid, *(pid for pid, _ in descendants(service.process.pid))}

    def all_stand() -> bool:
        members = family()
        for pid in members:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
        # One that stands makes no further process, so whoever was made meanwhile is seen now.
        return all(map(stands, members)) and family() == members

    until(all_stand, within(30))


def stands(pid: int) -> bool:
    """Whether all threads of a process are stopped, or have ended."""
    with suppress(FileNotFoundError, ProcessLookupError):
        states = [(task / "stat").read_text("utf-8", "replace") for task in Path(f"/proc/{pid}/task").iterdir()]
        return all(state.rpartition(")")[2].split()[0] in "TtZX" for state in states)
    return True


@contextmanager
def said_by_database(place: Path) -> Iterator[None]:
    """Where the service does not start, the database's log tells why."""
    try:
        yield
    except SystemExit as problem:
        logs = [place / "serve.log", place / "temp" / "postgres" / "server.log"]
        said = [path.read_bytes().replace(b"\0", b"")[-2000:].decode("utf-8", "replace") for path in logs]
        raise AssertionError("\n".join(said)) from problem


def put_some_back(place: Path, name: str, data: bytes, chance: random.Random, share: float) -> int:
    """Bytes of a file of payloads that stay lost. Of these some pages are written after all, in this share of the files: behind
    its end, and in a segment, whose length was there before, wherever they differ.
    """
    path = place / "temp" / "spill" / name
    if not path.exists():
        return len(data)
    if path.suffix == ".segment":
        return put_pages_back(path, data, chance, share)
    size = path.stat().st_size
    if size < len(data) and chance.random() < share:
        with path.open("r+b") as file:
            for at in range(size, len(data), PAGE_BYTES):
                if chance.random() < 0.5:
                    file.seek(at)
                    file.write(data[at : at + chance.randint(1, PAGE_BYTES)])
    return max(0, len(data) - size)


def put_pages_back(path: Path, data: bytes, chance: random.Random, share: float) -> int:
    lost, is_partly_written = 0, chance.random() < share
    with path.open("r+b") as file:
        for at in range(0, len(data), PAGE_BYTES):
            page = data[at : at + PAGE_BYTES]
            file.seek(at)
            if file.read(PAGE_BYTES) == page:
                continue
            lost += len(page)
            if is_partly_written and chance.random() < 0.5:
                file.seek(at)
                file.write(page[: chance.randint(1, PAGE_BYTES)])
    return lost


def judge_cut(service: RunningService, load: Load, contents: list[bytes]) -> None:
    """What was acknowledged is there and ends, what was finished is finished, all of it is whole."""
    client = client_of(service)
    for reference in load.seen_finished:
        assert client.status(reference).finished, f"{reference} was finished before the cut"
    client.close()
    for reference in load.acknowledged:
        status = finished(service, reference, within(20))
        assert status.status == "EXECUTED", f"{reference}: {status}"
        judge_result(service, status.operation_id, contents, verified=2 * (reference == load.acknowledged[-1]))
        if reference in load.results:
            again = signed_contents(result_of(service, status.operation_id))
            assert again == load.results[reference], f"{reference}: another result than the caller has"
