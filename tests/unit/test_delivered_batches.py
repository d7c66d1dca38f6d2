"""How many documents of a result are read and packaged at once."""

from batchseal.operation import ContentType, DocumentStatus
from batchseal.pipeline.encode import BATCH_BYTES, batches
from batchseal.store.rows import DocumentRow


def test_what_signing_adds_counts_too() -> None:
    """A document of 1 KB takes 20 KB once it has a time stamp: thousands of them would be in memory at once."""
    signed = DocumentStatus.SIGNED
    rows = [DocumentRow(n, "", "n", ContentType.PDF, signed, None, None, 1000, 20_000) for n in range(1000)]
    found = list(batches(rows))
    assert [row for batch in found for row in batch] == rows
    assert all(len(batch) * 21_000 <= BATCH_BYTES for batch in found)
    assert len(found) == 11
