"""Which documents the signer reads at once to prepare them: few enough for its memory."""

from batchseal.operation import ContentType, DocumentStatus
from batchseal.signer.preparation import BATCH_BYTES, batches
from batchseal.store.rows import DocumentRow


def rows(*sizes: int) -> list[DocumentRow]:
    return [
        DocumentRow(n, str(n), "n.pdf", ContentType.PDF, DocumentStatus.RECEIVED, None, None, size, 0)
        for n, size in enumerate(sizes)
    ]


def test_documents_are_read_as_many_as_a_format_takes_and_never_more_than_memory_holds() -> None:
    half = BATCH_BYTES // 2
    for sizes, expected in (
        ([10] * 70, [32, 32, 6]),
        ([half, half, 1], [2, 1]),
        ([50 * BATCH_BYTES] * 3, [1, 1, 1]),
        ([1, 50 * BATCH_BYTES, 1, 1], [1, 1, 2]),
        ([], []),
    ):
        found = list(batches(rows(*sizes)))
        assert [len(batch) for batch in found] == expected
        assert [row.ordinal for batch in found for row in batch] == list(range(len(sizes)))
