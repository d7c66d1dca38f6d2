"""One plot each of what the benchmarks found, as SVG: the files of `benchmarks/results/` that the README shows."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.tables import GROWTH


def draw(details: dict[str, Any], folder: Path) -> None:
    """Draws what there is; nothing where matplotlib is not installed."""
    try:
        import matplotlib as mpl
    except ImportError:
        print("matplotlib is not installed: no plots")
        return
    mpl.use("svg")
    # The same numbers give the same file.
    mpl.rcParams |= {"svg.hashsalt": "batchseal", "font.size": 9, "svg.fonttype": "none"}
    figures = {name: plot(details[name]) for name, plot in PLOTS.items() if name in details}
    for name, (heading, x) in GROWTH.items():
        if points := details.get("growth", {}).get(name):
            figures[f"growth_{name}"] = growth(points, heading, x)
    for name, figure in figures.items():
        figure.tight_layout()
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})


def new_figure(width: float, columns: int = 1) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, 3.2))
    return figure, figure.subplots(1, columns, squeeze=False)[0]


def packaging(result: dict[str, Any]) -> Any:
    figure, axes = new_figure(8, 2)
    for axis, (corpus, rates) in zip(axes, result["rates"].items(), strict=True):
        axis.barh(list(rates)[::-1], list(rates.values())[::-1])
        axis.set_xscale("log")
        axis.set_title(f"corpus {corpus.upper()}: documents per CPU second")
    return figure


def end_to_end(result: dict[str, Any]) -> Any:
    figure, (axis,) = new_figure(8)
    bars: dict[str, dict[str, float]] = {}
    for credential, run in result.items():
        bars[credential] = run["stages"]
        bars["null service"] = run["null_stages"]
    for place, stages in enumerate(bars.values()):
        left = 0.0
        for stage, color in (("upload", "C0"), ("sign", "C1"), ("fetch", "C2")):
            seconds = stages.get(stage, 0.0)
            axis.barh(place, seconds, left=left, color=color, label=stage if place == 0 else None)
            left += seconds
    axis.set_yticks(range(len(bars)), list(bars))
    axis.set_xlabel("seconds")
    axis.legend()
    return figure


def growth(points: Sequence[Mapping[str, float]], heading: str, x: str) -> Any:
    """The rate, how long requests take, and what memory and database take, by what grows."""
    figure, axes = new_figure(11, 3)
    rate, unit = ("mb_per_second", "MB/s") if x == "document_bytes" else ("documents_per_second", "documents/s")
    panels = ((rate,), unit), (("p50_ms", "p99_ms"), "ms"), (("peak_service_mb", "database_mb"), "MB")
    for axis, (fields, unit) in zip(axes, panels, strict=True):
        for field, style in zip(fields, ("o-", "s--"), strict=False):
            axis.plot([point[x] for point in points], [point[field] for point in points], style, label=NAMES.get(field))
        axis.set_xscale("log")
        axis.set_xlabel(heading.lower() + (", bytes" if x == "document_bytes" else ""))
        axis.set_ylabel(unit)
        if unit == "ms":
            axis.set_yscale("log")
        else:
            axis.set_ylim(bottom=0)
        if len(fields) > 1:
            axis.legend()
    return figure


NAMES = {"p50_ms": "p50", "p99_ms": "p99", "peak_service_mb": "memory at its peak", "database_mb": "database"}
PLOTS = {"packaging": packaging, "end_to_end": end_to_end}
