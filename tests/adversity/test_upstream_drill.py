"""Each of fourteen faults on a fifth of the calls, and all of them mixed: nothing wrong, nothing lost, few calls more."""

import pytest
from benchmarks.misbehaving import KINDS
from benchmarks.upstream_drill import MULTISIGN, run_trial, short_waits


@pytest.mark.parametrize("kind", [*KINDS, "mixed"])
async def test_faults_on_a_fifth_of_the_calls(kind: str) -> None:
    documents, seeds = (150, (1,)) if kind in ("drip", "timeout") else (250, (1, 2))
    for seed in seeds:
        with short_waits():
            trial = await run_trial(kind, seed, documents)
        assert (trial.wrong, trial.lost) == (0, 0)
        assert trial.tries <= 5
        assert trial.reported <= documents // 50
        assert trial.calls <= 1.6 * documents / MULTISIGN
