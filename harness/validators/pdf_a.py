"""A judge of PDF/A-1b (ISO 19005-1) that is not ours: PDFBox Preflight."""

import subprocess
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from harness.tools import JAVA_FOLDER, PREFLIGHT, PREFLIGHT_JARS, missing
from harness.validators import MissingValidator, folder_for_now, tool


@cache
def _classes() -> tuple[str, str]:
    if lacking := missing(PREFLIGHT):
        raise MissingValidator(f"not installed: {lacking}")
    folder = folder_for_now("preflight")
    classpath = ":".join(map(str, [folder, *(JAVA_FOLDER / name for name in PREFLIGHT_JARS)]))
    source = Path(__file__).with_name("Preflight.java")
    subprocess.run([tool("javac"), "-cp", classpath, "-d", folder, source], check=True, capture_output=True)
    return tool("java"), classpath


def preflight(paths: Iterable[Path]) -> dict[Path, set[str]]:
    """What is wrong with each file as PDF/A-1b: the code and the words of each complaint. All in one JVM."""
    java, classpath = _classes()
    command = [java, "-Xshare:auto", "-XX:TieredStopAtLevel=1", "-cp", classpath, "Preflight"]
    text = "".join(f"{path}\n" for path in paths)
    done = subprocess.run(command, input=text.encode(), capture_output=True, timeout=600, check=True)
    found: dict[Path, set[str]] = {}
    complaints = set[str]()
    for line in done.stdout.decode().splitlines():
        kind, _, rest = line.partition("\t")
        if kind == "FILE":
            complaints = found.setdefault(Path(rest), set())
        elif kind == "BAD":
            complaints.add(rest)
    return found
