"""Files that arrive in a hot folder while everything is killed again and again: each ends once, signed or with a reason."""

import json
import os
import random
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from signal import SIGKILL

from harness.hot_folders import FAST_FLAGS, Folders, below, configure, files_below, left_over, put
from harness.invoices import invoice
from harness.service import RunningService
from harness.several import several
from harness.tools import SMALL_VOLUME
from harness.waiting import until
from harness.xml_invoices import xml_invoice
from tests.adversity.drills import registry
from tests.adversity.drills.crashes import after_a_first_start, crashed, judge_ended
from tests.adversity.drills.purging import copied, crashing
from tests.adversity.drills.registry import Figures, Trial, drill, within
from tests.adversity.drills.volumes import make_image, mounted
from tests.support.service import FAST

from batchseal.commands.verify import check_files, load_roots
from batchseal.system import crash_sites

SITES = tuple(site for site in crash_sites.SITES if site.startswith("files-"))
KILLS = 3
FEW, MANY, DOCUMENT_BYTES = 300, 10_000, 200_000
VERIFIED = 60
BROKEN = b"%PDF-1.4\nthis stops in the middle"
# Files come in pairs of two looks, so that the folder is busy for the whole trial.
FLAGS = (*FAST, *FAST_FLAGS, "--hot-folder-cron=* * * * * *", "--hot-folder-threshold=100")


def content(number: int, size_bytes: int) -> tuple[str, bytes]:
    """The name and the content of a file: PDF, XML and others in turns, all different; every fiftieth is broken."""
    name = f"{number % 7}/{number // 1000}/file {number}"
    if number % 50 == 49:
        return f"{name}.pdf", BROKEN + b"%d" % number
    if number % 3 == 0:
        return f"{name}.pdf", invoice(number, size_bytes=size_bytes)
    if number % 3 == 1:
        return f"{name}.xml", xml_invoice(number % 8, size_bytes=size_bytes) + b"<!-- %d -->" % number
    return f"{name}.bin", b"%d " % number + bytes(range(1, 251)) * (size_bytes // 250)


class Arriving(threading.Thread):
    """Has files brought at about this rate a second: `bring` is given the name and the content of each."""

    def __init__(self, bring: Callable[[str, bytes], object], count: int, size_bytes: int, rate: float) -> None:
        super().__init__(daemon=True)
        self.expected: dict[str, bytes] = {}
        self._bring = bring
        self._count = count
        self._size_bytes = size_bytes
        self._rate = rate
        self._stopped = threading.Event()

    def run(self) -> None:
        began = time.monotonic()
        for number in range(self._count):
            name, data = content(number, self._size_bytes)
            self.expected[name] = data
            self._bring(name, data)
            ahead = number / self._rate - (time.monotonic() - began)
            if ahead > 0 and self._stopped.wait(ahead):
                return

    def stop(self) -> None:
        self._stopped.set()
        self.join()


def judge_files(folders: Folders, expected: dict[str, bytes], root: Path) -> None:
    """Each file has ended once. Some of the results are validated; all of them hold their original."""
    assert below(folders.input) == {}, "files are left in the input folder"
    output, backup = below(folders.output), below(folders.backup)
    paths = []
    for name, data in expected.items():
        if data.startswith(BROKEN):
            assert output.pop(f"{name}.txt").startswith(name.encode()), name
            assert backup.pop(f"{name}.txt"), name
        else:
            result = f"{name}.p7m" if name.endswith(".bin") else name
            signed = output.pop(result)
            assert len(signed) > len(data), name
            # XML is signed by one insertion, so that its beginning stays.
            assert data[:200] in signed, name
            paths.append(folders.output / result)
        assert backup.pop(name) == data, f"the original of {name} is not in the backup folder"
    assert output == {}, f"there is more in the output folder: {sorted(output)[:5]}"
    assert backup == {}, f"there is more in the backup folder: {sorted(backup)[:5]}"
    assert (left := left_over(folders)) == [], left
    chosen = random.Random(3).sample(paths, min(VERIFIED, len(paths)))
    bad = [verdict for verdict in check_files(chosen, load_roots([root]), 2) if not verdict.valid]
    assert bad == [], f"{len(bad)} signatures do not hold: {bad[0]}"


def ended(folders: Folders, count: int) -> bool:
    """Whether as many originals are in the backup folder, without reading them."""
    return sum(path.suffix != ".txt" for path in files_below(folders.backup)) >= count


@drill("hot-folder", quick=1, short=2, long=10)
def hot_folder(folder: Path) -> Iterator[Trial]:
    """Files arrive while everything is killed three times. In the suite there are a few hundred small ones."""

    def trial(number: int) -> Figures:
        count, size = (MANY, DOCUMENT_BYTES) if registry.FULL else (FEW, 20_000)
        place = folder / f"trial {number}"
        place.mkdir()
        folders = Folders.make(place / "files")
        configure(place / "work", folders)
        arriving = Arriving(partial(put, folders), count, size, rate=count / 8)
        chance = random.Random(number)
        began = time.monotonic()
        arriving.start()
        try:
            for _ in range(KILLS):
                with RunningService(*FLAGS, folder=place) as service:
                    until(lambda: any(files_below(folders.output)), within(60))
                    time.sleep(chance.uniform(0.2, 1.5))
                    service.kill()
                judge_ended(place)
            with RunningService(*FLAGS, folder=place) as service:
                arriving.join()
                until(lambda: ended(folders, count), within(60 + count / 50), 0.2)
                seconds = time.monotonic() - began
                until(lambda: left_over(folders) == [], within(20))
                judge_files(folders, arriving.expected, service.root)
        finally:
            arriving.stop()
        shutil.rmtree(place, ignore_errors=True)
        return {"seconds_max": seconds}

    yield trial


@drill("hot-folder-sites", quick=0, short=2 * len(SITES), long=10 * len(SITES))
def hot_folder_sites(folder: Path) -> Iterator[Trial]:
    """Each named site in turn. At every second one everything ends, at the others the process of the hot folders alone."""
    fresh = after_a_first_start(folder)

    def trial(number: int) -> Figures:
        round_number, at = divmod(number, len(SITES))
        site, everything = SITES[at], (at + round_number) % 2 == 0
        place = folder / f"site {number}"
        copied(fresh, place)
        folders = Folders.make(place / "files")
        configure(place / "work", folders)
        expected = dict(content(n, 20_000) for n in range(40, 60))
        service = RunningService(*FLAGS, folder=place)
        with crashing(site, everything), suppress(SystemExit), service:
            for name, data in expected.items():
                put(folders, name, data)
            crashed(service, everything, None)
            if not everything:
                until(lambda: ended(folders, len(expected)), within(30))
                until(lambda: left_over(folders) == [], within(10))
                judge_files(folders, expected, service.root)
        if everything:
            assert service.process.returncode == -SIGKILL, f"{site}: {service.log.read_bytes()[-1000:]!r}"
            judge_ended(place)
            with RunningService(*FLAGS, folder=place) as service:
                until(lambda: ended(folders, len(expected)), within(30))
                until(lambda: left_over(folders) == [], within(10))
                judge_files(folders, expected, service.root)
        judge_ended(folder)
        shutil.rmtree(place, ignore_errors=True)
        return {}

    yield trial


@contextmanager
def small_output(place: Path, folders: Folders) -> Iterator[Path]:
    """The output folder is a file system of 24 MB of its own, and so is the backup folder."""
    with ExitStack() as stack:
        for name, size in (("out", 24 << 20), ("backup", 64 << 20)):
            make_image(place / f"{name}.img", size)
            stack.enter_context(mounted(place / f"{name}.img", getattr(folders, {"out": "output"}.get(name, name))))
        yield folders.output


@contextmanager
def waiting(service: RunningService) -> Iterator[None]:
    """What is done in the block has files wait, and the log says so."""

    def said() -> int:
        return service.log.read_bytes().count(b"files wait in a hot folder")

    before = said()
    yield
    until(lambda: said() > before, within(30))


@drill("hot-folder-mounts", quick=1, short=4, long=20, needs=SMALL_VOLUME)
def hot_folder_mounts(folder: Path) -> Iterator[Trial]:
    """Input, output and backup are three mounts. The output is full, then read-only, then away: files wait, and end once."""

    def trial(number: int) -> Figures:
        place = folder / f"mounts {number}"
        place.mkdir()
        folders = Folders.make(place / "files")
        configure(place / "work", folders)
        expected = dict(content(n, 20_000) for n in range(120))
        with small_output(place, folders) as output:
            for volume in (output, folders.backup):
                shutil.rmtree(volume / "lost+found")
            ballast = output / ".ballast"
            with ballast.open("wb") as file, suppress(OSError):
                while True:
                    file.write(os.urandom(1 << 16))
            with RunningService(*FLAGS, folder=place) as service:
                names = iter(expected)
                with waiting(service):
                    for _ in range(40):
                        put(folders, name := next(names), expected[name])
                service.kill()
            judge_ended(place)
            ballast.unlink()
            with RunningService(*FLAGS, folder=place) as service:
                until(lambda: ended(folders, 40) and left_over(folders) == [], within(60))
                subprocess.run(["mount", "-o", "remount,ro", str(output)], check=True)
                with waiting(service):
                    for _ in range(40):
                        put(folders, name := next(names), expected[name])
                subprocess.run(["mount", "-o", "remount,rw", str(output)], check=True)
                until(lambda: ended(folders, 80) and left_over(folders) == [], within(90))
                # The volume goes away, and what is left is an empty folder of another disk.
                subprocess.run(["umount", "-l", str(output)], check=True)
                with waiting(service):
                    for name in names:
                        put(folders, name, expected[name])
                assert below(output) == {}, "results went to the disk below the mount"
                subprocess.run(["mount", "-o", "loop", str(place / "out.img"), str(output)], check=True)
                until(lambda: ended(folders, len(expected)), within(90))
                until(lambda: left_over(folders) == [], within(20))
                judge_files(folders, expected, service.root)
        shutil.rmtree(place, ignore_errors=True)
        return {}

    yield trial


@drill("hot-folder-instances", quick=1, short=4, long=20, apart=True, store="local")
def hot_folder_instances(folder: Path) -> Iterator[Trial]:
    """Two instances on one folder, of which one is killed: none of the files is signed twice."""

    def trial(number: int) -> Figures:
        place = folder / f"instances {number}"
        place.mkdir()
        folders = Folders.make(place / "files")
        count = 2_000 if registry.FULL else 200
        flags = tuple(flag for flag in FLAGS if not flag.startswith("--sandbox"))
        with several(place) as shared:
            services = json.loads(shared.sandbox.services.read_text())
            services[next(iter(services))] |= folders.entry()
            shared.sandbox.services.write_text(json.dumps(services))
            first = shared.start("one", *flags)
            second = shared.start("two", *flags)
            arriving = Arriving(partial(put, folders), count, 20_000, rate=count / 6)
            arriving.start()
            until(lambda: ended(folders, 20), 60)
            (first if number % 2 else second).kill()
            arriving.join()
            until(lambda: ended(folders, count), 120, 0.2)
            until(lambda: left_over(folders) == [], 30)
            judge_files(folders, arriving.expected, shared.sandbox.root)
        shutil.rmtree(place, ignore_errors=True)
        return {}

    yield trial
