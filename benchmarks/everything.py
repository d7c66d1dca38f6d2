"""`make bench`: every benchmark in turn, on a machine that does nothing else; about 35 minutes.

Writes to `benchmarks/results/`: speed.json (flat, figure to number, with machine, versions, date, and the commit that each
benchmark ran on), speed-by-processor.json (the newest of each family of processors), details.json (what the figures come from)
and one plot each; then the tables of benchmarks/README.md. A figure that this machine cannot give is left out, never estimated.
`--smoke` runs everything in tiny sizes: it shows that a benchmark works, not how fast it is.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks import (
    by_processor,
    cades_ratio,
    canonical_ratio,
    database_size,
    digest_ratios,
    end_to_end,
    growth,
    large_documents,
    latency,
    long_term_ratio,
    packaging_ratio,
    placeholder_ratio,
    plots,
    scan_ratio,
    singles,
    tables,
    upload_beside_headers,
    visible_ratio,
    xades_ratio,
)
from benchmarks.bodies import XML
from benchmarks.machine import date, machine, versions
from harness import tools
from harness.provenance import TAKEN, provenance

FOLDER = Path(__file__).parent
# Tools by what lacks them, for each benchmark.
NEEDS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "packaging": {"packaging: judged by pdfsig": tools.PDFSIG, "packaging: judged by iText": tools.ITEXT},
    "xades": {"xades: judged by xmlsec1": tools.XMLSEC},
    "cades": {"cades: judged by OpenSSL": tools.OPENSSL},
    "visible": {"visible: judged by pdfsig": tools.PDFSIG, "visible: judged by iText": tools.ITEXT},
    "end_to_end": {"end_to_end: judged by pdfsig": tools.PDFSIG, "end_to_end: judged by iText": tools.ITEXT},
    "large_documents": {
        "large_documents: judged by pdfsig": tools.PDFSIG,
        "large_documents: judged by iText": tools.ITEXT,
    },
    "xml_end_to_end": {"xml_end_to_end: judged by xmlsec1": tools.XMLSEC},
}
Step = Callable[[], dict[str, Any]]

# Every name that the file may have: nothing else gets into it.
FIGURES = (
    *digest_ratios.FIGURES,
    "packaging_a_over_best_peer",
    "packaging_b_over_best_peer",
    "packaging_a_over_pyhanko",
    "scan_over_ijson",
    "c14n_20k_over_lxml",
    "c14n_200k_over_lxml",
    "c14n_over_memcpy",
    "xades_20k_over_lxml",
    "xades_200k_over_lxml",
    "xades_20k_over_signxml",
    "cades_over_pyhanko",
    "lt_over_t",
    "lta_over_lt",
    "pades_lta_over_lt",
    "lt_bytes_kb",
    "visible_over_invisible",
    "visible_over_pyhanko",
    "appearance_first_ms",
    "placeholder_over_pdfminer",
    "end_to_end_over_null",
    "xml_end_to_end_over_null",
    "peak_service_mb_1",
    "peak_service_mb_4",
    "peak_large_mb",
    "temp_bytes_over_payload",
    "db_mb_per_1000_documents",
    "db_signatures_mb_per_1000_documents",
    "single_sync_beyond_upstream_ms",
    "single_sync_beside_batch_ms",
    "single_cpu_ms",
    "singles_over_batch",
    "upload_beside_headers_over_alone",
)


def steps(*, smoke: bool) -> dict[str, Step]:
    """Each benchmark by its name in details.json."""
    if smoke:
        return {
            "digest": lambda: digest_ratios.measure_digest_ratios(20, 20_000, 1),
            "scan": lambda: scan_ratio.measure(20, 20_000, 1),
            "canonical": lambda: canonical_ratio.measure(4, 1),
            "packaging": lambda: packaging_ratio.measure(8, 1, with_judges=False),
            "xades": lambda: xades_ratio.measure(8, 1, with_judges=False),
            "cades": lambda: cades_ratio.measure(8, 1, with_judges=False),
            "long_term": lambda: long_term_ratio.measure(4, 1),
            "visible": lambda: visible_ratio.measure(8, 1, with_judges=False),
            "placeholder": lambda: placeholder_ratio.measure(40, 1),
            "database": lambda: database_size.measure(5, 2, 1),
            "latency": lambda: latency.measure(3, 20),
            "singles": lambda: singles.measure(2, 1),
            "headers": lambda: upload_beside_headers.measure(5, 20_000, 1),
            "end_to_end": lambda: end_to_end.measure(10, 20_000, 1, ["p256"]),
            "xml_end_to_end": lambda: end_to_end.measure(10, 20_000, 1, ["p256"], kind=XML),
            "large_documents": lambda: large_documents.measure(2, 6_000_000),
            "growth": lambda: growth.measure(growth.SMOKE),
        }
    return {
        "digest": digest_ratios.measure_digest_ratios,
        "scan": scan_ratio.measure,
        "canonical": canonical_ratio.measure,
        "packaging": packaging_ratio.measure,
        "xades": xades_ratio.measure,
        "cades": cades_ratio.measure,
        "long_term": long_term_ratio.measure,
        "visible": visible_ratio.measure,
        "placeholder": placeholder_ratio.measure,
        "database": database_size.measure,
        "latency": latency.measure,
        "singles": singles.measure,
        "headers": upload_beside_headers.measure,
        "end_to_end": lambda: end_to_end.measure(2500, 200_000, end_to_end.ROUNDS, ["p256", "rsa3072"], judge=True),
        "xml_end_to_end": lambda: end_to_end.measure(2500, 200_000, end_to_end.ROUNDS, ["p256"], judge=True, kind=XML),
        "large_documents": lambda: large_documents.measure(judge=True),
        "growth": lambda: growth.measure(growth.SERIES),
    }


def run(names: list[str], *, smoke: bool) -> dict[str, Any]:
    """What each of them shows, and under `left_out` what a missing tool left out of them."""
    wanted = {name: step for name, step in steps(smoke=smoke).items() if name in names or not names}
    needed = {} if smoke else {name: NEEDS.get(name, {}) for name in wanted}  # tiny sizes are not judged
    left_out = {what: why for needs in needed.values() for what, why in tools.left_out(needs).items()}
    tools.say(left_out)
    details: dict[str, Any] = {"left_out": left_out}
    for name, step in wanted.items():
        print(f"{name} ...", end=" ", flush=True)
        began = time.monotonic()
        details[name] = step()
        print(f"{time.monotonic() - began:.0f} s", flush=True)
    return details


def figures(details: dict[str, Any]) -> dict[str, float]:
    found = dict(end_to_end.speed_figures(details["end_to_end"])) if "end_to_end" in details else {}
    if "xml_end_to_end" in details:
        found |= end_to_end.xml_speed_figures(details["xml_end_to_end"])
    for result in details.values():
        found |= {name: value for name, value in result.items() if isinstance(value, int | float)}
    return {name: round(found[name], 4) for name in FIGURES if name in found}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="only these; other figures stay as they are")
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--results", type=Path, default=FOLDER / "results", help="folder (default: %(default)s)")
    parser.add_argument("--readme", type=Path, default=FOLDER / "README.md", help="file that gets the tables")
    options = parser.parse_args()
    if options.smoke and options.results == FOLDER / "results":
        parser.error("--smoke needs --results: its numbers say nothing")
    provenance()  # before the tree can change
    options.results.mkdir(parents=True, exist_ok=True)
    speed, kept = options.results / "speed.json", options.results / "details.json"
    details = json.loads(kept.read_text()) if options.names and kept.exists() else {}
    # Of earlier runs, what was left out of benchmarks that are not run again stays.
    before = {
        what: why for what, why in details.get("left_out", {}).items() if what.partition(":")[0] not in options.names
    }
    taken = dict(details.get(TAKEN, {}))
    fresh = run(options.names, smoke=options.smoke)
    details |= fresh
    details[TAKEN] = taken | {name: provenance() for name in options.names or steps(smoke=options.smoke)}
    details["left_out"] |= before
    known = json.loads(speed.read_text()) if options.names and speed.exists() else {}
    # What a kernel gave on another processor does not stand for this one, where digests were measured again without it.
    gone = digest_ratios.FIGURES if "digest" in fresh else ()
    flat = {name: value for name, value in known.items() if name in FIGURES and name not in gone} | figures(details)
    facts = {"machine": machine(), "versions": versions(), "date": date(), TAKEN: details[TAKEN]}
    speed.write_text(json.dumps({**flat, **facts}, indent=2) + "\n")
    kept.write_text(json.dumps(details, indent=2) + "\n")
    newest = by_processor.keep(options.results, by_processor.family(), figures(fresh), provenance())
    plots.draw(details, options.results)
    if options.readme.exists():
        tables.update(options.readme, [*tables.lines(details, flat, facts), *by_processor.lines(newest)])
    print(json.dumps(flat, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
