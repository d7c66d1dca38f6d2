"""schemathesis against our own OpenAPI document: whatever it says can be sent, and what it says cannot, never ends in a 5xx."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.service import RunningService
from tests.adversity.drills import registry
from tests.adversity.drills.registry import Figures, Trial, drill
from tests.support_service import BASE, FAST, authorization, batch, documents, finished, post

SHORT, LONG = 100, 5000
SHORT_SECONDS = 180


@drill("api-fuzz", quick=0, short=1, long=1)
def api_fuzz(folder: Path) -> Iterator[Trial]:
    program = shutil.which("schemathesis", path=f"{Path(sys.executable).parent}{os.pathsep}{os.defpath}")
    with RunningService(*FAST, "--sync-deadline=20", folder=folder) as service:

        def trial(number: int) -> Figures:
            assert program, "schemathesis is not installed (pip install schemathesis==4.32.5)"
            assert post(service, batch("seed", documents(2)))[0] == 200
            finished(service, "seed")
            command = [program, "run", f"{service.url}{BASE.removesuffix('/api/v0')}/openapi.json", "-u", service.url]
            command += ["-H", f"Authorization: {authorization(service)}", "--checks", "not_a_server_error"]
            command += ["--phases", "examples,coverage,fuzzing", "-n", str(LONG if registry.LONG else SHORT)]
            command += ["--seed", "1", "--continue-on-failure", "--no-shrink", "--request-timeout", "60"]
            command += ["--suppress-health-check", "all", "--warnings", "off"]
            if not registry.LONG:
                command += ["--max-time", str(SHORT_SECONDS)]
            try:
                limit = None if registry.LONG else 2 * SHORT_SECONDS
                done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=limit)
            except subprocess.TimeoutExpired:
                raise AssertionError(f"schemathesis did not end within {limit} s") from None
            assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
            cases = re.search(r"([\d,]+) generated", done.stdout)
            assert cases, done.stdout[-1000:]
            return {"cases": int(cases[1].replace(",", ""))}

        yield trial
