"""What a support bundle says of causes that quote what a caller has named."""

import json
from typing import Any

import pytest

from batchseal.operator.without_names import WithoutNames
from batchseal.system.telemetry.logs import masked

KEY = b"k" * 32
OPERATION: dict[str, Any] = {
    "line": {"id": 7, "external_reference": "FT 2026/5"},
    "description": "Invoices of Ana",
    "events": ({"name": "FINISHED", "position": 3, "actor": "ana", "detail": "ana retried FT 2026/5"},),
    "failures": ({"cause": "FT 2026/5: the provider's answer names 'Sig of Eve', not the caller's", "documents": 1},),
}
DOCUMENT = {
    "ordinal": 1,
    "name": "salary ö.pdf",
    "external_reference": "it's",
    "cause": 'salary ö.pdf of "it\'s" is damaged',
}
KNOWN = frozenset({"FT 2026/5", "Invoices of Ana"})


@pytest.mark.parametrize("masks_quotes", [True, False])
def test_names_and_references_in_causes_are_masked(masks_quotes: bool) -> None:
    made = WithoutNames(KEY, masks_quotes=masks_quotes)
    shown = json.dumps([made.of(OPERATION, KNOWN), made.of([DOCUMENT], KNOWN)])
    for name in ("FT 2026", "Ana", "ana", "salary", "it's"):
        assert name not in shown, name
    assert ("Sig of Eve" in shown) is not masks_quotes
    assert masked(KEY, "FT 2026/5") in shown, "as the log masks it"
    assert "the provider's answer names" in shown and "the caller's" in shown and "is damaged" in shown
    assert '"name": "FINISHED"' in shown and '"id": 7' in shown
