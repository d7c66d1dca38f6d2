"""Figures by the family of the processor: `results/speed-by-processor.json`.

speed.json tells of the last run alone. A processor without AVX-512 cannot give all figures, and no two families give the same. So
this file keeps, for each family and figure, the newest value, and the commit and day that it is of.
"""

import json
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.tables import GOALS, table

FILE = "speed-by-processor.json"
CPUINFO = Path("/proc/cpuinfo")
Newest = dict[str, dict[str, dict[str, Any]]]

# Families by vendor and family number: the name, and the model numbers that it has (Linux, arch/x86/include/asm/intel-family.h;
# AMD, "Revision Guide" of each family).
FAMILIES: Mapping[tuple[str, int], Sequence[tuple[str, Iterable[int]]]] = {
    ("GenuineIntel", 6): (
        ("Broadwell", (61, 71, 79, 86)),
        ("Skylake", (78, 85, 94)),  # server: with Cascade Lake and Cooper Lake, which hash alike
        ("Ice Lake", (106, 108, 125, 126)),
        ("Sapphire Rapids", (143, 207)),  # with Emerald Rapids
        ("Granite Rapids", (173, 174)),
    ),
    ("AuthenticAMD", 23): (("Zen", range(0x00, 0x30)), ("Zen 2", range(0x30, 0x100))),
    ("AuthenticAMD", 25): (
        ("Zen 4", (*range(0x10, 0x20), *range(0x60, 0xB0))),
        ("Zen 3", (*range(0x00, 0x10), *range(0x20, 0x60))),
    ),
    ("AuthenticAMD", 26): (("Zen 5", range(0x00, 0x100)),),
}


def family(cpuinfo: Path = CPUINFO) -> str:
    """As "Zen 3"; a processor that is not in the list is named by its vendor and numbers, as "GenuineIntel 6/183"."""
    read: dict[str, str] = {}
    for line in cpuinfo.read_text("utf-8", "replace").splitlines():
        key, _, value = line.partition(":")
        if not line:
            break
        read[key.strip()] = value.strip()
    vendor = read.get("vendor_id", "")
    if not vendor:
        return platform.machine()
    number, model = int(read["cpu family"]), int(read["model"])
    for name, models in FAMILIES.get((vendor, number), ()):
        if model in models:
            return name
    return f"{vendor} {number}/{model}"


def keep(folder: Path, here: str, figures: Mapping[str, float], taken: Mapping[str, str]) -> Newest:
    """Puts the figures of one run in place of those that the family `here` had; returns all. `taken` is the run's provenance."""
    path = folder / FILE
    newest: Newest = json.loads(path.read_text("utf-8")) if path.exists() else {}
    newest.setdefault(here, {}).update({name: {"value": value, **taken} for name, value in figures.items()})
    path.write_text(json.dumps(newest, indent=2, sort_keys=True) + "\n", "utf-8")
    return newest


def lines(newest: Newest) -> Iterator[str]:
    """The table that shows the families side by side."""
    families = sorted(newest)
    names = [name for name in GOALS if any(name in newest[one] for one in families)]
    if not names:
        return
    yield "### By processor"
    yield ""
    yield "The newest value of each family of processors that could give it, and its day (`results/speed-by-processor.json`)."
    yield ""
    rows = [(f"`{name}`", *(cell(newest[one].get(name)) for one in families)) for name in names]
    yield from table(("figure", *families), rows)


def cell(found: Mapping[str, Any] | None) -> str:
    return f"{found['value']} ({found['date']})" if found else "-"
