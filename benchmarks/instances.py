"""`make bench-instances`: every figure about several instances and the stores that they share, in one run, on a machine that does
nothing else; about 20 minutes.

Writes `benchmarks/results/instances.json` (flat, figure to number, with machine, date and the commit that each part ran on). A
figure that this machine cannot give is left out, never estimated. `--smoke` runs everything in tiny sizes, into another file: it
shows that the benchmarks work, not how fast anything is.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import encryption_ratio, several_instances, store_cost
from benchmarks.kept import INSTANCES, keep
from benchmarks.machine import machine
from harness import tools
from harness.provenance import provenance

Part = Callable[[], dict[str, float]]
NEEDS = {"stores": tools.OBJECT_STORES, "instances": tools.OBJECT_STORES}

# Every name that the file may have.
FIGURES = (
    "s3_upload_cpu_over_local",
    "s3_upload_wall_over_local",
    "s3_sink_upload_cpu_over_local",
    "s3_sink_upload_wall_over_local",
    "shared_upload_cpu_over_local",
    "shared_upload_wall_over_local",
    "local_upload_cpu_seconds",
    "s3_upload_memory_mb_more",
    "shared_upload_memory_mb_more",
    "local_idle_memory_mb",
    "shared_idle_memory_mb_more",
    "s3_idle_memory_mb_more",
    "foreign_result_over_own",
    "shared_foreign_result_over_own",
    "two_instances_over_one",
    "two_instances_cores_busy",
    "two_instances_service_cores",
    "cores",
    "take_over_seconds_p50",
    "take_over_seconds_max",
    *encryption_ratio.FIGURES,
)


def parts(*, smoke: bool) -> dict[str, Part]:
    if smoke:
        return {
            "stores": lambda: store_cost.measure(60, 200_000, 1),
            "instances": lambda: several_instances.measure(40, 50_000, 1, batch_count=20, batches_each=1, take_overs=1),
            "encryption": lambda: encryption_ratio.measure(4, 1, 1),
        }
    return {
        "stores": lambda: store_cost.measure(store_cost.COUNT, store_cost.SIZE_BYTES, store_cost.ROUNDS),
        "instances": several_instances.measure,
        "encryption": lambda: encryption_ratio.measure(
            encryption_ratio.COUNT, encryption_ratio.LARGE, encryption_ratio.ROUNDS
        ),
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="PART", help=f"only these of {', '.join(parts(smoke=True))}")
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--results", type=Path, default=INSTANCES, help="file (default: %(default)s)")
    options = parser.parse_args(arguments)
    if options.smoke and options.results == INSTANCES:
        parser.error("--smoke needs --results: its numbers say nothing")
    known = parts(smoke=options.smoke)
    if unknown := set(options.names) - known.keys():
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    wanted = {name: part for name, part in known.items() if name in options.names or not options.names}
    left_out = tools.left_out({name: needs for name, needs in NEEDS.items() if name in wanted})
    tools.say(left_out)
    provenance()  # before the tree can change
    if not options.names:
        options.results.unlink(missing_ok=True)
    for name, part in wanted.items():
        if name in left_out:
            continue
        print(f"{name} ...", end=" ", flush=True)
        began = time.monotonic()
        found = part()
        keep(options.results, name, {figure: found[figure] for figure in FIGURES if figure in found})
        print(f"{time.monotonic() - began:.0f} s", flush=True)
    kept = json.loads(options.results.read_text("utf-8")) if options.results.exists() else {}
    options.results.write_text(json.dumps({**kept, "machine": machine()}, indent=2) + "\n", "utf-8")
    print(options.results.read_text("utf-8"))
    return 1 if len(left_out) == len(wanted) else 0


if __name__ == "__main__":
    sys.exit(main())
