"""Objects that arrive in a bucket while the store is away and everything is killed: each ends once, signed or with a reason."""

import random
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from signal import SIGKILL

from harness.hot_buckets import Prefixes, keys, left_over, mirrored
from harness.hot_folders import configure
from harness.object_stores import store_flags
from harness.service import RunningService
from harness.waiting import until
from tests.adversity.drills import registry
from tests.adversity.drills.crashes import after_a_first_start, crashed, judge_ended
from tests.adversity.drills.hot_folders import FLAGS, SITES, Arriving, content, judge_files
from tests.adversity.drills.purging import copied, crashing
from tests.adversity.drills.registry import Figures, Trial, drill, within
from tests.support.object_stores import new_prefix, proxied

FEW, MANY = 40, 1_000
AWAY_SECONDS, AWAY_SECONDS_FULL = 3.0, 60.0
# Nothing is moved where there is no rename.
BUCKET_SITES = tuple(site for site in SITES if site != "files-claimed")


def begun(place: Path) -> tuple[Prefixes, tuple[str, ...]]:
    """New prefixes, the configuration that names them, and the flags of a service that works on them through the proxy."""
    proxy = proxied("seaweedfs")
    address = new_prefix(proxy)
    direct = replace(address, endpoint=f"http://{proxy.upstream}", prefix=f"hot-{address.prefix}")
    prefixes = Prefixes.make(direct)
    place.mkdir(exist_ok=True)
    configure(place / "work", prefixes)
    return prefixes, (*FLAGS, *store_flags(address))


def ended(prefixes: Prefixes, count: int) -> bool:
    """Whether as many originals are in the backup, and nothing is left to do."""
    return sum(not key.endswith(".txt") for key in keys(prefixes.backup)) >= count and left_over(prefixes) == []


@drill("hot-bucket", quick=1, short=1, long=5, needs=("weed",))
def hot_bucket(folder: Path) -> Iterator[Trial]:
    """Objects arrive, the store is away for a while, and everything is killed. In the suite there are some tens of objects."""
    proxy = proxied("seaweedfs")

    def trial(number: int) -> Figures:
        count, size = (MANY, 200_000) if registry.FULL else (FEW, 20_000)
        away = AWAY_SECONDS_FULL if registry.FULL else AWAY_SECONDS
        place = folder / f"bucket {number}"
        prefixes, flags = begun(place)
        arriving = Arriving(prefixes.input.put, count, size, rate=count / 6)
        late, late_data = content(count, size)
        chance = random.Random(number)
        began = time.monotonic()
        arriving.start()
        try:
            with RunningService(*flags, folder=place) as service:
                until(lambda: bool(keys(prefixes.output)), within(60), 0.1)
                proxy.away()
                # All others may have been published before; this object cannot be while the store is away.
                prefixes.input.put(late, late_data)
                time.sleep(away)
                published = len(keys(prefixes.output))
                proxy.back()
                came_back = time.monotonic()
                until(lambda: len(keys(prefixes.output)) > published, within(120), 0.1)
                went_on = time.monotonic() - came_back
                time.sleep(chance.uniform(0.0, 1.5))
                service.kill()
            judge_ended(place)
            with RunningService(*flags, folder=place) as service:
                arriving.join()
                until(lambda: ended(prefixes, count + 1), within(120 + count / 5), 0.5)
                seconds = time.monotonic() - began
                judge_files(mirrored(prefixes, place / "files"), arriving.expected | {late: late_data}, service.root)
        finally:
            proxy.back()
            arriving.stop()
        shutil.rmtree(place, ignore_errors=True)
        return {"seconds_max": seconds, "went_on_seconds_max": went_on}

    yield trial


@drill("hot-bucket-sites", quick=0, short=2 * len(BUCKET_SITES), long=10 * len(BUCKET_SITES), needs=("weed",))
def hot_bucket_sites(folder: Path) -> Iterator[Trial]:
    """Each named site in turn. At every second one everything ends, at the others the process of the hot folders alone."""
    fresh = after_a_first_start(folder)

    def trial(number: int) -> Figures:
        round_number, at = divmod(number, len(BUCKET_SITES))
        site, everything = BUCKET_SITES[at], (at + round_number) % 2 == 0
        place = folder / f"site {number}"
        copied(fresh, place)
        prefixes, flags = begun(place)
        expected = dict(content(n, 20_000) for n in range(40, 60))
        service = RunningService(*flags, folder=place)
        with crashing(site, everything), suppress(SystemExit), service:
            for name, data in expected.items():
                prefixes.input.put(name, data)
            crashed(service, everything, None)
            if not everything:
                until(lambda: ended(prefixes, len(expected)), within(60), 0.2)
                judge_files(mirrored(prefixes, place / "files"), expected, service.root)
        if everything:
            assert service.process.returncode == -SIGKILL, f"{site}: {service.log.read_bytes()[-1000:]!r}"
            judge_ended(place)
            with RunningService(*flags, folder=place) as service:
                until(lambda: ended(prefixes, len(expected)), within(60), 0.2)
                judge_files(mirrored(prefixes, place / "files"), expected, service.root)
        judge_ended(folder)
        shutil.rmtree(place, ignore_errors=True)
        return {}

    yield trial
