"""schemathesis against our own OpenAPI document: whatever it says can be sent, and what it says cannot, never ends in a 5xx."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from harness.service import RunningService
from harness.tools import find
from tests.adversity.drills import registry
from tests.adversity.drills.registry import Figures, Trial, drill
from tests.support.service import BASE, FAST, authorization, batch, documents, finished, post

SHORT, LONG = 100, 5000
SHORT_SECONDS = 600  # it takes about 90


@drill("api-fuzz", quick=0, short=1, long=1, needs=("schemathesis",))
def api_fuzz(folder: Path) -> Iterator[Trial]:
    program = find("schemathesis")
    assert program
    with RunningService(*FAST, "--sync-deadline=20", folder=folder) as service:

        def trial(number: int) -> Figures:
            assert post(service, batch("seed", documents(2)))[0] == 200
            finished(service, "seed")
            command = [program, "run", f"{service.url}{BASE.removesuffix('/api/v0')}/openapi.json", "-u", service.url]
            command += ["-H", f"Authorization: {authorization(service)}", "--checks", "not_a_server_error"]
            wanted = LONG if registry.LONG else SHORT
            command += ["--phases", "examples,coverage,fuzzing", "-n", str(wanted)]
            command += ["--seed", "1", "--continue-on-failure", "--no-shrink", "--request-timeout", "60"]
            command += ["--suppress-health-check", "all", "--warnings", "off"]
            try:
                limit = None if registry.LONG else SHORT_SECONDS
                done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=limit)
            except subprocess.TimeoutExpired:
                raise AssertionError(f"schemathesis did not end within {limit} s") from None
            assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
            cases = re.search(r"([\d,]+) generated", done.stdout)
            selected = re.search(r"Selected: (\d+)/(\d+)", done.stdout)
            assert cases and selected, done.stdout[-1000:]
            assert selected[1] == selected[2], f"endpoints left out: {selected[0]}"
            return {
                "cases": int(cases[1].replace(",", "")),
                "endpoints": int(selected[1]),
                "examples_an_endpoint": wanted,
            }

        yield trial
