"""Real PDFs of other projects, where they are at hand: each is signed, or refused for what its author wanted."""

from pathlib import Path

import pytest
from harness.validators import judging
from harness.validators.corpus import judge

CORPUS = Path(__file__).parents[3] / "shared" / "corpus"


@pytest.mark.timeout(600)
@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of PDFs is not here")
def test_real_documents_are_signed_or_refused_by_their_authors(tmp_path: Path) -> None:
    with judging():
        outcomes = judge(sorted(CORPUS.glob("*.pdf")), tmp_path)
    assert [(outcome.source.name, outcome.complaints) for outcome in outcomes if outcome.complaints] == []
    others = [
        (o.source.name, o.update) for o in outcomes if o.opens and not o.is_valid and not o.is_refused_by_its_author
    ]
    assert others == []
