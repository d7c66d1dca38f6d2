"""`make bench-compare BASE=REV`: the same figures of an older revision and of this checkout, measured in turns.

    python -m benchmarks.compare REV --figures single_sync_beyond_upstream_ms packaging_a
    python -m benchmarks.compare REV --pairs 15

Machines change from day to day, so that a figure of last week says little beside one of today. Here both revisions are
measured within minutes: one pair after the other, and within a pair each comes first every other time (A B, B A, ...).
REV is unpacked under build/compare/ and gets an environment and a native build of its own, made by its own Makefile from
its own lock files; the next call for the same revision uses them again. Each figure comes from the `benchmarks` package
of its own revision, in a process of its own, so that the source may be laid out differently: this file relies on the
command lines in MEASUREMENTS alone. A figure whose benchmark REV does not have yet is left out, and this is said. See
`ratios.py` for the interval and the verdict. Exit code 1: a figure is worse.
"""

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import ratios
from benchmarks.machine import date, machine
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "build" / "compare"
PAIRS, PAIRS_SMOKE = 7, 2
TABLE_COLUMNS = 112  # a name of a figure or an interval is never broken
USAGE_ERROR = 2  # argparse's exit code where a revision does not know an option yet


@dataclass(frozen=True, slots=True)
class Measurement:
    """One process that gives one or more figures, as JSON on standard output or in the file {result}.

    `forms` are arguments for Python, with sizes in braces. The first that the revision knows is used: later ones are for
    revisions from before the option was there, and stay as they are.
    """

    forms: tuple[tuple[str, ...], ...]
    sizes: dict[str, int]
    smoke: dict[str, int]


MEASUREMENTS = {
    "latency": Measurement(
        (("-m", "benchmarks.latency", "--requests", "{requests}", "--count", "{count}"),),
        {"requests": 150, "count": 100},
        {"requests": 3, "count": 20},
    ),
    "singles": Measurement(
        (("-m", "benchmarks.singles", "--each", "{each}", "--rounds", "{rounds}"),),
        {"each": 40, "rounds": 2},
        {"each": 2, "rounds": 1},
    ),
    "end to end": Measurement(
        (
            (
                *("-m", "benchmarks.end_to_end", "--count", "{count}", "--bytes", "{bytes}"),
                *("--rounds", "{rounds}", "--credentials", "p256"),
            ),
        ),
        {"count": 2500, "bytes": 200_000, "rounds": 2},
        {"count": 10, "bytes": 20_000, "rounds": 1},
    ),
    "large documents": Measurement(
        (("-m", "benchmarks.large_documents", "--at-once", "{at_once}", "--bytes", "{bytes}"),),
        {"at_once": 8, "bytes": 100_000_000},
        {"at_once": 2, "bytes": 6_000_000},
    ),
    "packaging": Measurement(
        (("-m", "benchmarks.packaging_ratio", "--count", "{count}", "--rounds", "{rounds}"),),
        {"count": 200, "rounds": 3},
        {"count": 8, "rounds": 1},
    ),
    "packaging of XML": Measurement(
        (("-m", "benchmarks.xades_ratio", "--count", "{count}", "--rounds", "{rounds}"),),
        {"count": 320, "rounds": 3},
        {"count": 4, "rounds": 1},
    ),
    "levels": Measurement(
        (("-m", "benchmarks.long_term_ratio", "--count", "{count}", "--rounds", "{rounds}"),),
        {"count": 48, "rounds": 3},
        {"count": 4, "rounds": 1},
    ),
    "database": Measurement(
        (("-m", "benchmarks.database_size", "--count", "{count}"),),
        {"count": 1000},
        {"count": 50},
    ),
    "coalescing": Measurement(
        (
            ("-m", "benchmarks.upstream", "--only", "coalescing", "--results", "{result}"),
            (
                "-c",
                "import json; from benchmarks.upstream_service import coalescing; print(json.dumps(coalescing()))",
            ),
        ),
        {},
        {},
    ),
}


@dataclass(frozen=True, slots=True)
class Figure:
    """`place` leads to the number in what the measurement prints."""

    measurement: str
    place: tuple[str, ...]
    lower_is_better: bool = True


FIGURES = {
    "single_sync_beyond_upstream_ms": Figure("latency", ("single_sync_beyond_upstream_ms",)),
    "single_cpu_ms": Figure("singles", ("single_cpu_ms",)),
    "singles_over_batch": Figure("singles", ("singles_over_batch",), lower_is_better=False),
    "peak_service_mb_1": Figure("end to end", ("p256", "peak_mb_1", "service")),
    "peak_service_mb_4": Figure("end to end", ("p256", "peak_mb_4", "service")),
    "peak_large_mb": Figure("large documents", ("peak_large_mb",)),
    "end_to_end_over_null": Figure("end to end", ("p256", "over_null")),
    "temp_bytes_over_payload": Figure("end to end", ("p256", "spill_over_payload")),
    "fifty_of_1_ratio": Figure("coalescing", ("fifty_of_1_ratio",)),
    # Documents per CPU second of our own packaging: the peers of `packaging_ratio.py` are the same for both revisions.
    "packaging_a": Figure("packaging", ("rates", "a", "batchseal"), lower_is_better=False),
    "packaging_b": Figure("packaging", ("rates", "b", "batchseal"), lower_is_better=False),
    "xades_20k_over_lxml": Figure("packaging of XML", ("xades_20k_over_lxml",), lower_is_better=False),
    "lt_over_t": Figure("levels", ("lt_over_t",), lower_is_better=False),
    "pades_lta_over_lt": Figure("levels", ("pades_lta_over_lt",), lower_is_better=False),
    "lt_bytes_kb": Figure("levels", ("lt_bytes_kb",)),
    "db_mb_per_1000_documents": Figure("database", ("db_mb_per_1000_documents",)),
}


@dataclass(frozen=True, slots=True)
class Revision:
    """A tree with its `benchmarks` package, and the interpreter of its environment. `changed`: beyond the commit."""

    commit: str
    tree: Path
    python: Path
    changed: bool = False


def git(*arguments: str, failing: str = "git failed") -> str:
    run = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
    if run.returncode:
        raise SystemExit(run.stderr.strip() or failing)
    return run.stdout.strip()


def outer_environment() -> dict[str, str]:
    """This process's, without what would reach into another revision: our own `make` and module path."""
    ours = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "PYTHONPATH", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if name not in ours}


def checkout() -> Revision:
    changed = bool(git("status", "--porcelain", "--untracked-files=no"))
    return Revision(git("rev-parse", "HEAD"), ROOT, Path(sys.executable), changed)


def unpack(commit: str, folder: Path = FOLDER) -> Path:
    """The files of a commit, in a folder of its own for each commit and version of Python."""
    tree = folder / f"{commit[:12]}-python{sys.version.split()[0]}"
    if not tree.exists():
        folder.mkdir(parents=True, exist_ok=True)
        archive = subprocess.run(["git", "-C", str(ROOT), "archive", commit], stdout=subprocess.PIPE, check=True).stdout
        # Renamed when complete, so that a call that was interrupted leaves no half tree under this name.
        part = Path(tempfile.mkdtemp(prefix="unpacking-", dir=folder))
        subprocess.run(["tar", "-x", "-C", str(part)], input=archive, check=True)
        part.rename(tree)
    return tree


def build(revision: str) -> Revision:
    """The revision with its environment; its own `make setup` does what is not done yet."""
    commit = git(
        "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}", failing=f"{revision} is no revision here"
    )
    tree = unpack(commit)
    base_python: str = sys._base_executable  # type: ignore[attr-defined]
    command = ["make", "--no-print-directory", "-C", str(tree), "setup", f"PYTHON={base_python}"]
    if subprocess.run(command, env=outer_environment(), stdout=sys.stderr, check=False).returncode:
        raise SystemExit(f"{revision} could not be built in {tree}")
    return Revision(commit, tree, tree / ".venv" / "bin" / "python")


def measure(name: str, revision: Revision, *, smoke: bool) -> dict[str, Any]:
    """What one process of the measurement gives. Raises SystemExit with its last words where it fails."""
    measurement = MEASUREMENTS[name]
    said = ""
    for form in measurement.forms:
        with tempfile.TemporaryDirectory(prefix="batchseal-compare-") as folder:
            result = Path(folder) / "result.json"
            filled = {"result": result, **(measurement.smoke if smoke else measurement.sizes)}
            command = [str(revision.python), *(part.format(**filled) for part in form)]
            run = subprocess.run(
                command, cwd=revision.tree, env=outer_environment(), capture_output=True, text=True, check=False
            )
            said = run.stderr[-3000:]
            if run.returncode == 0:
                found: dict[str, Any] = json.loads(result.read_text() if result.exists() else run.stdout)
                return found
            if run.returncode != USAGE_ERROR:
                break
    raise SystemExit(f"{name} failed in {revision.tree}:\n{said}")


def has_benchmark(measurement: str, revision: Revision) -> bool:
    """Whether one of the measurement's forms can be run: a form that runs a module needs its file."""
    modules = [form[1] if form[0] == "-m" else None for form in MEASUREMENTS[measurement].forms]
    return any(name is None or (revision.tree / f"{name.replace('.', '/')}.py").exists() for name in modules)


def known_to(base: Revision, names: Sequence[str]) -> list[str]:
    """Those figures that the revision can be measured for; the others are named on standard error.

    Raises ValueError if there are none.
    """
    known = [name for name in names if has_benchmark(FIGURES[name].measurement, base)]
    for name in names:
        if name not in known:
            print(f"left out: {name}, whose benchmark {base.commit[:12]} does not have", file=sys.stderr, flush=True)
    if not known:
        raise ValueError("no figure is left to compare")
    return known


def number(name: str, measured: dict[str, Any]) -> float:
    value: Any = measured
    for key in FIGURES[name].place:
        value = value[key]
    return float(value)


Samples = dict[str, tuple[list[float], list[float]]]  # by figure: the base's and the checkout's, one of each pair


def run_pairs(
    base: Revision, own: Revision, names: Sequence[str], pairs: int, keep: Callable[[Samples], None], *, smoke: bool
) -> Samples:
    """Every pair of every measurement; `keep` gets what there is after each."""
    samples: Samples = {name: ([], []) for name in names}
    measurements = list(dict.fromkeys(FIGURES[name].measurement for name in names))
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=2 * pairs * len(measurements))
        for pair in range(pairs):
            for measurement in measurements:
                # Whoever comes second in one pair comes first in the next, so that a drift favours neither.
                for side in (0, 1) if pair % 2 == 0 else (1, 0):
                    progress.update(task, description=f"{measurement}, {('base', 'checkout')[side]}")
                    measured = measure(measurement, (base, own)[side], smoke=smoke)
                    for name in names:
                        if FIGURES[name].measurement == measurement:
                            samples[name][side].append(number(name, measured))
                    progress.advance(task)
                keep(samples)
    return samples


def compare(samples: Samples) -> list[ratios.Comparison]:
    return [
        ratios.compare(name, base, own, lower_is_better=FIGURES[name].lower_is_better)
        for name, (base, own) in samples.items()
    ]


def chosen(given: Sequence[str]) -> list[str]:
    """Names from the command line, separated by spaces or commas. Raises ValueError for an unknown one."""
    names = [name for text in given for name in text.replace(",", " ").split()] or ["all"]
    if unknown := [name for name in names if name not in FIGURES and name != "all"]:
        raise ValueError(f"unknown figure: {', '.join(unknown)}; known are all, {', '.join(FIGURES)}")
    return list(FIGURES) if "all" in names else list(dict.fromkeys(names))


def result_of(base: Revision, own: Revision, samples: Samples) -> dict[str, Any]:
    """What the file of results says; figures are judged as soon as each has a complete pair."""
    figures: dict[str, Any] = {}
    for name, (theirs, ours) in samples.items():
        figures[name] = {"samples": {"base": theirs, "checkout": ours}}
        with contextlib.suppress(ValueError):
            (one,) = compare({name: (theirs, ours)})
            figures[name] = {**asdict(one), "verdict": one.verdict, **figures[name]}
    sides = {"base": {"commit": base.commit}, "checkout": {"commit": own.commit, "changed": own.changed}}
    return {**sides, "machine": machine(), "date": date(), "interval": ratios.INTERVAL, "figures": figures}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", metavar="REV", help="revision that this checkout is compared with")
    parser.add_argument("--figures", nargs="+", default=["all"], help=f"all, or of {', '.join(FIGURES)}")
    parser.add_argument("--pairs", type=int, help=f"default and least: {PAIRS}")
    parser.add_argument("--results", type=Path, help="file (default: build/compare/REV-CHECKOUT.json)")
    parser.add_argument(
        "--smoke", action="store_true", help="tiny sizes, and this checkout on both sides: builds nothing"
    )
    options = parser.parse_args()
    pairs = options.pairs or (PAIRS_SMOKE if options.smoke else PAIRS)
    if pairs < PAIRS and not options.smoke:
        parser.error(f"--pairs: at least {PAIRS}")
    try:
        names = chosen(options.figures)
    except ValueError as problem:
        parser.error(f"--figures: {problem}")
    began = time.monotonic()
    own = checkout()
    base = own if options.smoke else build(options.base)
    results = options.results or FOLDER / f"{base.commit[:12]}-{own.commit[:12]}.json"

    def keep(samples: Samples) -> None:
        found = {**result_of(base, own, samples), "seconds": round(time.monotonic() - began)}
        results.parent.mkdir(parents=True, exist_ok=True)
        results.write_text(json.dumps(found, indent=2) + "\n")

    try:
        names = known_to(base, names)
        comparisons = compare(run_pairs(base, own, names, pairs, keep, smoke=options.smoke))
    except ValueError as problem:
        raise SystemExit(str(problem)) from None
    console = Console(highlight=False)
    console.width = max(console.width, TABLE_COLUMNS)
    console.print(ratios.table(comparisons))
    console.print(f"{pairs} pairs, {ratios.INTERVAL}", f"every sample: {results}", sep="\n", soft_wrap=True)
    return int(any(one.verdict == ratios.WORSE for one in comparisons))


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except KeyboardInterrupt:
        raise SystemExit(130) from None
