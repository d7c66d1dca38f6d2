"""The canonicaliser equals lxml: on generated documents, on damaged ones, and on real invoices where they are at hand.

`python -m tests.support.canonical --documents 1000000` is the long form.
"""

from pathlib import Path

import pytest
from tests.support.canonical import canonical, differences, misjudged, tree

from batchseal._native import canonicaliser
from batchseal._native.canonicaliser import CanonicalTask, canonical_form

KERNELS = list({kernel: name for name, kernel, supported, _ in canonicaliser.kernels() if supported}.values())
DOCUMENTS = 20_000
SHARED = Path(__file__).parents[3] / "shared"
CORPUS = sorted([*SHARED.glob("corpus-xml/*.xml"), *SHARED.glob("reference/judged/*.xml")])


@pytest.mark.parametrize("name", KERNELS)
def test_generated(name: str) -> None:
    canonicaliser.use_kernels(name)
    try:
        assert [problem for seed in range(DOCUMENTS) if (problem := differences(seed))] == []
    finally:
        canonicaliser.use_kernels()


@pytest.mark.parametrize("name", KERNELS)
def test_damaged(name: str) -> None:
    canonicaliser.use_kernels(name)
    try:
        assert [problem for seed in range(DOCUMENTS) if (problem := misjudged(seed))] == []
    finally:
        canonicaliser.use_kernels()


@pytest.mark.skipif(not CORPUS, reason="the corpus of invoices is not here")
def test_corpus() -> None:
    for path in CORPUS:
        parsed = tree(path.read_bytes())
        transcoded = path.read_bytes().decode(parsed.docinfo.encoding or "utf-8").encode()
        for with_comments in (False, True):
            task = CanonicalTask(transcoded, with_comments=with_comments, transcoded=True)
            assert canonical_form(task) == canonical(parsed, with_comments=with_comments), path.name
        task = CanonicalTask(transcoded, without_signatures=True, transcoded=True)
        assert canonical_form(task) == canonical(parsed, without_signatures=True), path.name
