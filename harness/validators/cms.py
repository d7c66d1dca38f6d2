"""A judge of CMS signatures of levels up to LTA that is not ours: Bouncy Castle, with a small program (`CmsVerify.java`)."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness.tools import BOUNCY_CASTLE, JAVA_FOLDER, missing
from harness.validators import MissingValidator, folder_for_now, tool

STATES = {"true": True, "false": False, "none": None}


@dataclass(frozen=True)
class CmsReport:
    """What Bouncy Castle reads from SignedData. A time stamp that is not there is None.

    Of the archive time stamp only its signer is judged, not its imprint. `lacking` names issuers that are missing, and
    certificates without an answer that they were not revoked.
    """

    signature: bool
    certificates: int = 0
    crls: int = 0
    ocsp_responses: int = 0
    signature_time_stamp: bool | None = None
    archive_time_stamp: bool | None = None
    algorithm: str = ""
    lacking: tuple[str, ...] = ()
    problem: str = ""


@cache
def _java_classes() -> tuple[str, str]:
    if lacking := missing(BOUNCY_CASTLE):
        raise MissingValidator(f"not installed: {lacking}")
    folder = folder_for_now("cms")
    jars = [JAVA_FOLDER / name for name in BOUNCY_CASTLE if name.endswith(".jar")]
    classpath = ":".join(map(str, [folder, *jars]))
    source = Path(__file__).with_name("CmsVerify.java")
    command = [tool("javac"), "-cp", classpath, "-d", str(folder), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    return tool("java"), classpath


def bouncy_castle_verify(files: Sequence[tuple[Path, Path | None]]) -> dict[Path, CmsReport]:
    """A report for each file, all from one JVM. With each file comes what was signed, where that is not in it."""
    java, classpath = _java_classes()
    asked = "".join(f"{signed}\t{content or ''}\n" for signed, content in files)
    command = [java, "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp", classpath, "CmsVerify"]
    done = subprocess.run(command, input=asked.encode(), capture_output=True, timeout=600, check=True)
    reports = {}
    for line in done.stdout.decode().splitlines():
        path, verdict, *said = line.split("\t")
        if verdict == "FAIL":
            reports[Path(path)] = CmsReport(False, problem=said[0])
            continue
        certificates, crls, responses, stamp, archive, algorithm, lacking = said
        reports[Path(path)] = CmsReport(
            verdict == "true",
            int(certificates),
            int(crls),
            int(responses),
            STATES[stamp],
            STATES[archive],
            algorithm,
            tuple(filter(None, lacking.split(";"))),
        )
    return reports
