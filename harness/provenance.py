"""Which sources a result was taken from, and when: every file in `benchmarks/results/` says so of each of its parts.

A result is worth something only with the sources that it was taken from. So each program that writes such a file calls
`provenance` before its work begins, and writes what it gets under the key TAKEN.
"""

import subprocess
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
TAKEN = "taken"
# What the programs write themselves: a second run would else find the sources changed by the first one.
WRITTEN = ("benchmarks/results", "benchmarks/README.md")


@cache
def provenance(root: Path = ROOT) -> dict[str, str]:
    """The `commit` of the sources in `root`, and the `date` (UTC) of the first call in this process.

    " dirty" follows the commit if files differ from it. The commit is "unknown" where there is no repository or no git.
    """
    return {"commit": commit_of(root), "date": datetime.now(UTC).strftime("%Y-%m-%d")}


def commit_of(root: Path) -> str:
    """See `provenance`."""
    others = [f":(exclude){path}" for path in WRITTEN]
    try:
        commit = git(root, "rev-parse", "HEAD").strip()
        changed = git(root, "status", "--porcelain", "--", ".", *others)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit} dirty" if changed else commit


def git(root: Path, *arguments: str) -> str:
    """What git says. Raises OSError or CalledProcessError."""
    return subprocess.run(["git", "-C", str(root), *arguments], check=True, capture_output=True, text=True).stdout
