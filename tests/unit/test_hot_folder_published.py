"""What a hot folder knows of its results: many of them, noted by several batches at the same time."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from batchseal.entries.files import opened
from batchseal.entries.published import MOST_BYTES, MOST_RECORDS, RECORD, Published

THREADS = 4


def results(first: int, count: int) -> list[tuple[int, bytes]]:
    return [(number, number.to_bytes(16)) for number in range(first, first + count)]


def test_batches_add_results_at_the_same_time_while_old_ones_are_forgotten() -> None:
    known, each = Published(), MOST_RECORDS // 2

    def add(part: int) -> None:
        for first in range(part * each, (part + 1) * each, 50):
            known.add(results(first, 50))

    with ThreadPoolExecutor(THREADS) as pool:
        for done in [pool.submit(add, part) for part in range(THREADS)]:
            done.result()
    kept = sum(map(known.may_have, range(THREADS * each)))
    assert MOST_RECORDS // 2 <= kept <= MOST_RECORDS


def test_of_a_file_of_a_day_only_the_end_is_read(tmp_path: Path) -> None:
    folder = tmp_path / ".batchseal" / "published"
    folder.mkdir(parents=True)
    with (folder / "2026-11-30").open("wb") as file:
        file.truncate(100 * MOST_BYTES)  # whoever may write to the input folder may put it there
        file.seek(0, 2)
        file.write(RECORD.pack(7, b"d" * 16) + b"torn")
    known = Published()
    with opened(tmp_path) as root:
        known.load(root)
    assert known.may_have(7) and not known.may_have(8)
