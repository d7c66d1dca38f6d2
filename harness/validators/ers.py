"""A judge of evidence records (RFC 4998) that is not ours: Bouncy Castle, with a small program (`ErsVerify.java`)."""

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from harness.tools import BOUNCY_CASTLE, JAVA_FOLDER, missing
from harness.validators import MissingValidator, folder_for_now, tool


@dataclass(frozen=True)
class ErsReport:
    """What Bouncy Castle reads from a record. `lists` counts the lists of its reduced tree, `root` is what was stamped.

    `is_about`: the record is about the document; `is_stamped`: its time stamp is signed by the certificate in it, whose chain is
    not judged.
    """

    is_about: bool = False
    is_stamped: bool = False
    lists: int = 0
    root: bytes = b""
    problem: str = ""


@cache
def _java_classes() -> tuple[str, str]:
    if lacking := missing(BOUNCY_CASTLE):
        raise MissingValidator(f"not installed: {lacking}")
    folder = folder_for_now("ers")
    jars = [JAVA_FOLDER / name for name in BOUNCY_CASTLE if name.endswith(".jar")]
    classpath = ":".join(map(str, [folder, *jars]))
    source = Path(__file__).with_name("ErsVerify.java")
    command = [tool("javac"), "-cp", classpath, "-d", str(folder), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    return tool("java"), classpath


def bouncy_castle_judges(records: Sequence[tuple[Path, Path]]) -> list[ErsReport]:
    """A report for each pair of a record and the document that it is about, in order, all from one JVM."""
    java, classpath = _java_classes()
    asked = "".join(f"{record}\t{document}\n" for record, document in records)
    command = [java, "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp", classpath, "ErsVerify"]
    done = subprocess.run(command, input=asked.encode(), capture_output=True, timeout=600, check=True)
    reports = []
    for line in done.stdout.decode().splitlines():
        _, verdict, *said = line.split("\t")
        if verdict == "FAIL":
            reports.append(ErsReport(problem=said[0]))
        else:
            stamped, lists, root = said
            reports.append(ErsReport(verdict == "true", stamped == "true", int(lists), bytes.fromhex(root)))
    return reports
