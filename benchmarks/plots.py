"""One plot each of what the benchmarks found, as SVG: the files of `benchmarks/results/` that the README shows."""

from pathlib import Path
from typing import Any


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
    for name, plot in (("packaging", packaging), ("end_to_end", end_to_end), ("growth", growth)):
        if name in details:
            figure = plot(details[name])
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


def growth(result: dict[str, Any]) -> Any:
    figure, axes = new_figure(11, 3)
    for axis, (series, x, y) in zip(
        axes,
        (
            ("documents", "documents", "seconds"),
            ("sizes", "document_bytes", "mb_per_second"),
            ("at_once", "at_once", "documents_per_second"),
        ),
        strict=True,
    ):
        points = result[series]
        axis.plot([p[x] for p in points], [p[y] for p in points], "o-", label=y.replace("_", " "))
        memory = axis.twinx()
        memory.plot([p[x] for p in points], [p["peak_service_mb"] for p in points], "s--", color="C1")
        memory.set_ylabel("peak MB", color="C1")
        memory.set_ylim(bottom=0)
        axis.set_xscale("log")
        axis.set_ylim(bottom=0)
        axis.set_xlabel(x.replace("_", " "))
        axis.set_ylabel(y.replace("_", " "))
    return figure
