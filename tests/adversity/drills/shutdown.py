"""SIGTERM while callers keep the service busy."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from harness.service import RunningService
from tests.adversity.drills.judge import judge_result
from tests.adversity.drills.load import Load, full_load
from tests.adversity.drills.registry import Figures, Trial, drill, within
from tests.support.service import FAST, documents, finished, until

SHARE, OUT_SECONDS = 0.8, 30
FLAGS = (*FAST, "--sandbox-latency=100", "--sandbox-multisign=20")


@drill("sigterm", quick=1, short=5, long=100)
def sigterm(folder: Path) -> Iterator[Trial]:
    """At 80 % of the load that was measured before: what was acknowledged is finished, by this run or the next one."""
    contents = documents(40)
    (folder / "measured").mkdir()
    with RunningService(*FLAGS, folder=folder / "measured") as service:
        full = full_load(service, contents, 5)

    def trial(number: int) -> Figures:
        place = folder / f"term {number}"
        place.mkdir()
        with RunningService(*FLAGS, folder=place) as service:
            load = Load(service, contents, SHARE * full)
            until(lambda: load.acknowledged, within(60))
            time.sleep(2 + number % 4 * 0.7)
            began = time.monotonic()
            service.process.terminate()
            service.process.wait(within(60))
            out = time.monotonic() - began
            load.end()
            load.join()
        assert out < within(OUT_SECONDS), f"out after {out:.1f} s"
        assert service.process.returncode == 0
        with RunningService(*FLAGS, folder=place) as service:
            for reference in load.acknowledged:
                status = finished(service, reference, within(60))
                assert status.status == "EXECUTED", status
                judge_result(service, status.operation_id, contents, verified=int(reference == load.acknowledged[-1]))
        shutil.rmtree(place, ignore_errors=True)
        return {"seconds_until_out_max": out, "acknowledged_max": len(load.acknowledged), "full_batches_a_second": full}

    yield trial
