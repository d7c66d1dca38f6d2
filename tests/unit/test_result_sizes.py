"""What a result takes is reckoned by the signed documents: a small original may have a large signature."""

from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

from batchseal.api.result import result_bytes
from batchseal.operation import ContentType, DocumentStatus
from batchseal.pipeline.delivery import WARM_BYTES, is_warm
from batchseal.pipeline.encode import BATCH_BYTES, batches
from batchseal.store.rows import DocumentRow


def rows(count: int, content_bytes: int, additional_bytes: int) -> list[DocumentRow]:
    one = DocumentRow(
        *(0, "r", "n", ContentType.TEXT_XML, DocumentStatus.SIGNED, None, None), content_bytes, additional_bytes
    )
    return [replace(one, ordinal=ordinal) for ordinal in range(count)]


def test_batches_are_as_large_as_what_is_delivered() -> None:
    small = rows(1000, 10, BATCH_BYTES // 100)
    made = list(batches(small))
    assert [row for batch in made for row in batch] == small
    assert max(map(len, made)) <= 100
    assert [len(batch) for batch in batches(rows(3, BATCH_BYTES, 1))] == [1, 1, 1]


def test_a_result_is_warm_by_the_size_of_what_is_read() -> None:
    operation: Any = SimpleNamespace(finished_at=datetime.now(UTC))
    assert is_warm(operation, rows(1, 10, WARM_BYTES - 10))
    assert not is_warm(operation, rows(1, 10, WARM_BYTES))


def test_memory_for_a_reply_counts_the_signatures() -> None:
    documents: Any = rows(1000, 10, 5_000)
    assert result_bytes(documents) == 5_010_000
