"""The tables of benchmarks/README.md, written from the results between two marks; the words around them are by hand."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- results: written by `make bench` -->", "<!-- end of results -->"

# Figure: must, aim; (True: more is better).
GOALS = {
    "sha256_avx512_over_openssl_shani": (2.5, 3.3, True),
    "sha256_avx512_over_openssl_avx2": (7, 9, True),
    "sha256_avx2_over_openssl_avx2": (2.3, 2.8, True),
    "sha256_shani_over_openssl_shani": (1.6, 1.85, True),
    "packaging_a_over_best_peer": (2.0, 3.2, True),
    "packaging_b_over_best_peer": (5, 10, True),
    "packaging_a_over_pyhanko": (50, 77, True),
    "scan_over_ijson": (3, 5, True),
    "c14n_20k_over_lxml": (4, 8, True),
    "c14n_200k_over_lxml": (4, 8, True),
    "xades_20k_over_lxml": (4, 8, True),
    "xades_200k_over_lxml": (4, 8, True),
    "xades_20k_over_signxml": (15, 40, True),
    "cades_over_pyhanko": (20, 60, True),
    "lt_over_t": (0.8, 0.95, True),
    "lta_over_lt": (0.5, 0.8, True),
    "pades_lta_over_lt": (0.5, 0.8, True),
    "lt_bytes_kb": (8.5, 7, False),
    "visible_over_invisible": (0.7, 0.9, True),
    "visible_over_pyhanko": (50, 200, True),
    "appearance_first_ms": (100, 40, False),
    "placeholder_over_pdfminer": (15, 30, True),
    "end_to_end_over_null": (3.0, 1.5, False),
    "xml_end_to_end_over_null": (2.2, 1.6, False),
    "peak_service_mb_1": (200, 120, False),
    "peak_service_mb_4": (400, 250, False),
    "peak_large_mb": (200, 150, False),
    "temp_bytes_over_payload": (1.15, 1.03, False),
    "db_mb_per_1000_documents": (0.6, 0.35, False),
    "db_signatures_mb_per_1000_documents": (0.6, 0.5, False),
    "single_sync_beyond_upstream_ms": (10, 4, False),
    "single_cpu_ms": (6, 4, False),
    "singles_over_batch": (0.24, 0.35, True),
    "upload_beside_headers_over_alone": (0.98, 1, True),
}


def update(readme: Path, lines: Sequence[str]) -> None:
    """Puts the lines between the two marks."""
    text = readme.read_text("utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    body = "\n".join(lines)
    readme.write_text(f"{before}{BEGIN}\n{body}\n{END}{after}", "utf-8")


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    yield "| " + " | ".join(heads) + " |"
    yield "|" + "---|" * len(heads)
    for row in rows:
        yield "| " + " | ".join(map(str, row)) + " |"
    yield ""


def lines(details: dict[str, Any], figures: dict[str, float], facts: dict[str, Any]) -> Iterator[str]:
    yield f"Taken on {facts['date']}: {facts['machine']}."
    yield "Versions: " + ", ".join(f"{name} {number}" for name, number in facts["versions"].items()) + "."
    for what, why in details.get("left_out", {}).items():
        yield f"Left out: {what}, which {why}."
    yield ""
    rows: list[tuple[object, ...]] = []
    for name, (must, aim, more) in GOALS.items():
        value = figures.get(name)
        if value is None:
            rows.append((f"`{name}`", "not measured", must, aim, ""))
            continue
        met = [value >= goal if more else value <= goal for goal in (must, aim)]
        rows.append((f"`{name}`", value, must, aim, "aim" if met[1] else "must" if met[0] else "**missed**"))
    yield from table(("figure", "value", "must", "aim", "reached"), rows)
    for name, part in (
        ("packaging", packaging),
        ("xades", xades),
        ("cades", cades),
        ("long_term", long_term),
        ("visible", visible),
        ("end_to_end", end_to_end),
        ("xml_end_to_end", xml_end_to_end),
        ("latency", latency),
        ("singles", singles),
        ("growth", growth),
        ("scan", scan),
    ):
        if name in details:
            yield from part(details[name])


def packaging(result: dict[str, Any]) -> Iterator[str]:
    yield "### Packaging, documents per CPU second"
    yield ""
    judged = result.get("judged", {})
    rows = []
    for name in result["rates"]["a"]:
        counts = [judged.get(corpus, {}).get(name) for corpus in ("a", "b")]
        verdicts = []
        for judge in ("intact", "pyhanko", "pdfsig", "itext"):
            taken = [f"{c[judge]}/{c['documents']}" for c in counts if c and judge in c]
            verdicts.append(" ".join(taken) or "-")
        rows.append((name, result["rates"]["a"][name], result["rates"]["b"][name], *verdicts))
    yield from table(("", "A", "B", "intact, A and B", "pyHanko", "pdfsig", "iText"), rows)
    yield "![Packaging](results/packaging.svg)"
    yield ""


def xades(result: dict[str, Any]) -> Iterator[str]:
    yield "### XAdES packaging, documents per CPU second"
    yield ""
    yield from rates_and_verdicts(result)


def cades(result: dict[str, Any]) -> Iterator[str]:
    yield "### CAdES packaging, documents per CPU second"
    yield ""
    yield from rates_and_verdicts(result)


def long_term(result: dict[str, Any]) -> Iterator[str]:
    yield "### Levels LT and LTA beside the level below, 200 KB, documents per CPU second"
    yield ""
    rows = [(name, *rates.values()) for name, rates in result["rates"].items()]
    yield from table(("", "T", "LT", "LTA"), rows)


def visible(result: dict[str, Any]) -> Iterator[str]:
    yield "### Visible signatures, documents per CPU second"
    yield ""
    yield from table(("contender", "rate"), list(result["rates"].items()))
    judged = result.get("judged", {})
    yield f"Ours are taken by {', '.join(f'{name} ({count})' for name, count in judged.items() if name != 'documents')}."
    yield ""


def rates_and_verdicts(result: dict[str, Any]) -> Iterator[str]:
    """A row for each contender: its rate for each size, and how many of its documents each judge takes."""
    sizes = result["rates"]
    names = list(next(iter(sizes.values())))
    judged: dict[str, dict[str, dict[str, int]]] = result["judged"]
    judges = dict.fromkeys(j for size in judged.values() for c in size.values() for j in c if j != "documents")
    rows = []
    for name in names:
        verdicts = []
        for judge in judges:
            counts = [size[name] for size in judged.values() if judge in size.get(name, {})]
            verdicts.append(" ".join(f"{count[judge]}/{count['documents']}" for count in counts) or "-")
        rows.append((name, *(rates[name] for rates in sizes.values()), *verdicts))
    yield from table(("", *sizes, *judges), rows)


def end_to_end(result: dict[str, Any]) -> Iterator[str]:
    yield "### End to end, 2,500 documents of 200 KB"
    yield ""
    yield from runs_end_to_end(result)
    yield "![End to end](results/end_to_end.svg)"
    yield ""


def xml_end_to_end(result: dict[str, Any]) -> Iterator[str]:
    yield "### End to end, 2,500 XML invoices of 200 KB"
    yield ""
    yield from runs_end_to_end(result)


def runs_end_to_end(result: dict[str, Any]) -> Iterator[str]:
    """Times, CPU seconds and memory of each credential."""
    rows: list[Sequence[object]] = []
    for credential, run in result.items():
        stages = " + ".join(f"{seconds:.2f}" for seconds in run["stages"].values())
        rows.append((credential, run["seconds"], stages, run["over_null"], run["documents_per_second"]))
        null = " + ".join(f"{seconds:.2f}" for seconds in run["null_stages"].values())
        rows.append(("its null service", run["null_seconds"], null, 1, ""))
    yield from table(("", "seconds", "upload + sign + fetch", "over null", "documents/s"), rows)
    yield "CPU seconds by stage and process (and the worker's by thread), peak memory in MB by process:"
    yield ""
    for credential, run in result.items():
        parts = list(run["stage_cpu"]["upload"])
        cpu = [[run["stage_cpu"][stage].get(part, 0) for stage in run["stage_cpu"]] for part in parts]
        peaks = [[run[key].get(part, "") for key in ("peak_mb_1", "peak_mb_4")] for part in parts]
        rows = [(part, *seconds, *peak) for part, seconds, peak in zip(parts, cpu, peaks, strict=True)]
        rows.append(
            (
                "service (without postgres, sandbox)",
                "",
                "",
                "",
                *(run[k]["service"] for k in ("peak_mb_1", "peak_mb_4")),
            )
        )
        heads = (credential, *run["stage_cpu"], "MB, one request", "MB, four at once")
        yield from table(heads, rows)
        if "judged" in run:
            judged = ", ".join(f"{name} {count}" for name, count in run["judged"].items())
            yield f"Judged ({credential}): {judged}. Load generator: {run['client_cpu']} CPU seconds."
            yield ""


def latency(result: dict[str, Any]) -> Iterator[str]:
    yield "### A single synchronous document"
    yield ""
    yield from table(("figure", "value"), [(f"`{name}`", value) for name, value in result.items()])


def singles(result: dict[str, Any]) -> Iterator[str]:
    yield "### Synchronous requests of one document from eight clients"
    yield ""
    cpu, woken = result["single_cpu_ms_by_process"], result["single_wake_ups_by_process"]
    rows = [(part, value, woken.get(part, "-")) for part, value in cpu.items()]
    yield from table(("process", "processor ms a document", "wake-ups a document"), rows)
    rates = [(f"`{name}`", result[name]) for name in ("singles_per_second", "batch_per_second")]
    yield from table(("documents a second", "value"), rates)


# What grows in each series of the growth benchmark: its heading, and the field that is the abscissa of its plot.
GROWTH = {
    "in_flight": ("Documents in flight", "documents"),
    "singles": ("Clients of single documents", "at_once"),
    "by_size": ("Size of the documents", "document_bytes"),
    "batches": ("Batches at once", "at_once"),
}


def growth(result: dict[str, Any]) -> Iterator[str]:
    yield "### Growth"
    yield ""
    rates = "seconds", "documents/s", "MB/s", "p50 ms", "p99 ms"
    heads = ("requests", "at once", "documents", "bytes each", *rates, "peak MB", "database MB")
    for name, (heading, _) in GROWTH.items():
        if name in result:
            yield f"{heading}; p50 and p99 are those of a request:"
            yield ""
            yield from table(heads, [tuple(point.values()) for point in result[name]])
            yield f"![{heading}](results/growth_{name}.svg)"
            yield ""


def scan(result: dict[str, Any]) -> Iterator[str]:
    yield "### Scanning the request, GB/s"
    yield ""
    rows = [(name, f"{value:.2f}") for name, value in result.items() if name.endswith("gb_per_s")]
    yield from table(("", "GB/s"), rows)
