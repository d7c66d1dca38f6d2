"""kill -9 at each named site, while documents of a format that exists only in the tests are signed."""

import base64
import shutil
from collections.abc import Iterator
from pathlib import Path

from harness.service import RunningService
from tests.adversity.drills.crashes import (
    HOUSEKEEPING_SITES,
    RECORD_SITES,
    SITES,
    Job,
    after_a_first_start,
    judge_ended,
    signing_trial,
)
from tests.adversity.drills.judge import judge_stored, result_of
from tests.adversity.drills.purging import copied
from tests.adversity.drills.registry import Figures, Trial, drill
from tests.support import checksum_job

# Those of a purge know nothing of a format. The first ones are those around the calls of a format.
FIRST = ("signatures-unrecorded", "further-payload-committed", "outcomes-recorded")
SIGNING_SITES = (*FIRST, *(site for site in SITES if site not in (*FIRST, *HOUSEKEEPING_SITES, *RECORD_SITES)))


@drill("kill-checksums", quick=4, short=2 * len(SIGNING_SITES), long=10 * len(SIGNING_SITES))
def kill_checksums(folder: Path) -> Iterator[Trial]:
    """At each site everything ends, and in the next trial its own process alone."""
    texts = checksum_job.texts(12)

    def judge(service: RunningService, operation_id: int) -> None:
        answer = result_of(service, operation_id)
        assert answer["status"] == "EXECUTED", answer["status"]
        entries = answer["documentList"]
        assert isinstance(entries, list)
        for number, (entry, text) in enumerate(zip(entries, texts, strict=True)):
            signed = base64.b64decode(entry["signedContent"])
            checksum_job.judge_signed(signed, text, stamped=checksum_job.is_stamped(number))
        judge_stored(service, 1, len(texts))

    job = Job(checksum_job.start, checksum_job.body("site", texts), checksum_job.parts("site", texts), judge)

    fresh = after_a_first_start(folder)

    def trial(number: int) -> Figures:
        site, everything = SIGNING_SITES[number // 2 % len(SIGNING_SITES)], number % 2 == 0
        place = folder / f"site {number}"
        copied(fresh, place)
        figures = signing_trial(place, site, everything, job)
        judge_ended(place)
        shutil.rmtree(place, ignore_errors=True)
        return figures

    yield trial
