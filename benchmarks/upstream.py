"""The upstream's figures: faults, tokens, coalescing, an independent server, time stamps, a token (SoftHSM2).

Prints each as it comes and writes them as one flat object, name to number, to `results/upstream.json`. `--only NAME` runs some
parts; what it does not measure keeps its last figure. What needs a tool that is not installed is left out: that is said at
the start, and stands under `left_out` in the result.
"""

import argparse
import asyncio
import json
import logging
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import structlog
from benchmarks import upstream_service
from benchmarks.upstream_drill import digests_of, run_trials
from harness import tools
from harness.misbehaving import KINDS, Misbehaving, make_signer, service, sign_in_runs
from harness.provenance import TAKEN, provenance

from batchseal.errors import UpstreamError
from batchseal.operation import Caller

RESULT = Path(__file__).parent / "results" / "upstream.json"
CALLER = Caller("A")
Figures = dict[str, float]
# Tools of parts, and of single figures, by the part that gives them.
NEEDS: dict[str, dict[str, tuple[str, ...]]] = {
    "certomancer": {"certomancer_valid_pdfsig": tools.PDFSIG},
    "timestamps": {"b_t_valid_pdfsig": tools.PDFSIG},
    "softhsm": {"softhsm": tools.SOFTHSM},
}


async def drill(trials: int) -> Figures:
    """Fourteen kinds of fault, each on a fifth of the calls, then mixed: 500 documents, 10 digests a call."""
    fault_free = (await run_trials("", 1))[0].calls
    figures: Figures = {"drill_trials": trials, "drill_wrong": 0, "drill_lost": 0, "drill_most_tries": 0}
    ratios = []
    for kind in [*KINDS, "mixed"]:
        results = await run_trials(kind, trials)
        figures["drill_wrong"] += sum(trial.wrong for trial in results)
        figures["drill_lost"] += sum(trial.lost for trial in results)
        figures["drill_most_tries"] = max(figures["drill_most_tries"], *(trial.tries for trial in results))
        name = "drill_" + kind.replace(" ", "_")
        figures[f"{name}_reported_share"] = sum(trial.reported for trial in results) / (500 * trials)
        ratios.append(statistics.mean(trial.calls for trial in results) / fault_free)
        figures[f"{name}_call_ratio"] = ratios[-1]
        print(f"{name:<40} {ratios[-1]:g}", flush=True)
    return {**figures, "drill_call_ratio_worst": max(ratios)}


async def tokens(trials: int) -> Figures:
    """The token ends with 64 calls in flight."""
    refreshes, failed = [], 0
    for trial in range(trials):
        double = Misbehaving(multisign=1)
        with tempfile.TemporaryDirectory() as folder:
            async with service(Path(folder), double) as upstream:
                await upstream.credential(CALLER)
                account = next(iter(upstream.accounts))
                double.latency = 0.05
                before = double.calls["token"]
                calls = [asyncio.create_task(upstream.service.credentials(account)) for _ in range(64)]
                signing = asyncio.create_task(sign_in_runs(upstream, CALLER, digests_of(trial, 64)))
                await asyncio.sleep(0.01)
                double.tokens.clear()
                found = await asyncio.gather(*calls, return_exceptions=True)
                failed += sum(value != ["one"] for value in found)
                failed += sum(isinstance(value, UpstreamError) for value in await signing)
                refreshes.append(double.calls["token"] - before)
    return {"token_most_refreshes": max(refreshes), "token_failed": failed, "token_trials": trials}


async def calls_of_a_large_request() -> Figures:
    double = Misbehaving(multisign=1000)
    with tempfile.TemporaryDirectory() as folder:
        async with service(Path(folder), double) as upstream:
            await sign_in_runs(upstream, CALLER, digests_of(0, 2500))
    return {"calls_for_2500_at_1000": double.calls["signHash"]}


async def idle_cost() -> Figures:
    """One document through the lane, against the same two calls made straight."""
    double = Misbehaving(multisign=1000)
    straight, lane = [], []
    with tempfile.TemporaryDirectory() as folder:
        async with service(Path(folder), double) as upstream:
            await upstream.credential(CALLER)
            cached = next(iter(upstream._cached_keys.values()))
            for number in range(100):
                digests = digests_of(number, 1)
                began = time.perf_counter()
                grant = await upstream.service.authorize(cached.account, cached.key, digests, request_key="k")
                await upstream.service.sign(cached.account, cached.key, grant, digests, request_key="k")
                straight.append(time.perf_counter() - began)
                began = time.perf_counter()
                await sign_in_runs(upstream, CALLER, digests)
                lane.append(time.perf_counter() - began)
    return {"idle_added_ms": 1000 * (statistics.median(lane) - statistics.median(straight))}


async def renewed() -> Figures:
    """A certificate renewed in mid-batch, through the whole service."""
    double = Misbehaving(multisign=10)
    before = double.certificate

    def renew(path: str, number: int) -> str:
        if path == "signHash" and number == 5:
            double.key, double.certificate = make_signer()
        return ""

    double.fault = renew
    address = await double.start()
    try:
        return await asyncio.to_thread(upstream_service.renewed, address, before, lambda: double.certificate)
    finally:
        await double.stop()


def of_service(part: Callable[[], Figures]) -> Callable[[], Awaitable[Figures]]:
    return lambda: asyncio.to_thread(part)


def keep(path: Path, part: str, measured: Figures, left_out: dict[str, str]) -> None:
    """Puts a part's figures into the file, and what of it was left out in place of what was left out before.

    The file also says of each part from which sources its figures are.
    """
    results = json.loads(path.read_text()) if path.exists() else {}
    taken = {**results.pop(TAKEN, {}), part: provenance()}
    before = {name: why for name, why in results.pop("left_out", {}).items() if name not in NEEDS.get(part, {})}
    for key, value in measured.items():
        results[key] = round(float(value), 4)
        print(f"{key:<40} {results[key]:g}", flush=True)
    for name in left_out:
        results.pop(name, None)  # an earlier figure would pass for one of this run
    if now := before | left_out:
        results["left_out"] = now
    results[TAKEN] = taken
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=2) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=10, help="of each kind of fault")
    parser.add_argument("--documents", type=int, default=2500, help="through the independent server")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="names of parts")
    parser.add_argument("--results", type=Path, default=RESULT, help="file (default: %(default)s)")
    given = parser.parse_args()
    provenance()  # before the tree can change
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.disable(logging.ERROR)
    parts: dict[str, Callable[[], Awaitable[Figures]]] = {
        "drill": lambda: drill(given.trials),
        "tokens": lambda: tokens(5),
        "large": calls_of_a_large_request,
        "idle": idle_cost,
        "renewed": renewed,
        "coalescing": of_service(upstream_service.coalescing),
        "certomancer": of_service(lambda: upstream_service.certomancer(given.documents)),
        "timestamps": of_service(upstream_service.time_stamps),
        "softhsm": of_service(upstream_service.softhsm),
    }
    if set(given.only) - set(parts):
        parser.error(f"--only: of {', '.join(parts)}")
    wanted = [name for name in parts if name in given.only or not given.only]
    left_out = {name: tools.left_out(NEEDS.get(name, {})) for name in wanted}
    for name in wanted:
        tools.say(left_out[name])
    for name in wanted:
        # A part that needs the tool itself, rather than for one of its figures, stands under its own name.
        measured: dict[str, Any] = {} if name in left_out[name] else asyncio.run(parts[name]())  # type: ignore[arg-type]
        keep(given.results, name, measured, left_out[name])
    return 1 if all(name in left_out[name] for name in wanted) else 0


if __name__ == "__main__":
    raise SystemExit(main())
