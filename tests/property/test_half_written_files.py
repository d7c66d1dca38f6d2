"""Files that are written while somebody looks: none is ready before it is whole, however it is written.

The writer is played step by step and the folder is looked at after each step, so that nothing depends on time. Between two steps
there are as many looks as hypothesis wants: a writer that pauses is one that is looked at twice.
"""

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from harness.invoices import invoice
from harness.xml_invoices import xml_invoice
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchseal.entries import content, files
from batchseal.entries.content import Content, FileSource
from batchseal.entries.files import Seen, opened, opened_below, split
from batchseal.entries.looks import Looks
from batchseal.settings.load import OPTIONS

IGNORED = str(OPTIONS["hot_folder_ignore"].default).split()
WHOLE = {
    # Without the line break at their ends, without which they are whole too.
    "a.pdf": invoice(0, size_bytes=9_000).rstrip(),
    "b.pdf": invoice(1, size_bytes=9_000).rstrip(),
    "c.xml": xml_invoice(1, size_bytes=6_000).rstrip(),
    "d.bin": os.urandom(6_000),
}
LONG_AGO = 1_000_000_000

Step = Callable[[], object]


class Writer:
    """One who brings a file, in steps. A file stays open between them, as that of a program that writes does."""

    def __init__(self, path: Path, whole: bytes, stack: ExitStack) -> None:
        self.path = path
        self.whole = whole
        self._stack = stack

    def slowly(self, cuts: list[int]) -> Iterator[Step]:
        """A copy that takes its time."""
        file = self._stack.enter_context(self.path.open("wb", buffering=0))
        for start, stop in self._stretches(cuts):
            yield partial(file.write, self.whole[start:stop])
        yield file.close

    def size_first(self, cuts: list[int]) -> Iterator[Step]:
        """The size is set, and then the file is filled, as SMB does; the last part may come first."""
        file = self._stack.enter_context(self.path.open("wb", buffering=0))
        yield lambda: file.truncate(len(self.whole))
        stretches = self._stretches(cuts)
        for start, stop in (*stretches[-1:], *stretches[:-1]):
            yield partial(os.pwrite, file.fileno(), self.whole[start:stop], start)
        yield file.close

    def times_kept(self, cuts: list[int]) -> Iterator[Step]:
        """After each part the times are set back to those of the source, as some copy programs do."""
        for step in self.slowly(cuts):

            def kept(step: Step = step) -> None:
                step()
                os.utime(self.path, (LONG_AGO, LONG_AGO))

            yield kept

    def renamed(self, cuts: list[int]) -> Iterator[Step]:
        """It is written under a name that is left alone."""
        final, self.path = self.path, self.path.with_name(self.path.name + ".part")
        yield from self.slowly(cuts)
        yield lambda: self.path.rename(final)
        self.path = final

    def touched(self, cuts: list[int]) -> Iterator[Step]:
        yield from self.slowly(cuts)
        yield self.path.touch

    def reopened(self, cuts: list[int]) -> Iterator[Step]:
        """Each part is appended by a program that closes the file again. Only what knows its end can be told from a whole one."""
        for start, stop in self._stretches(cuts):

            def append(part: bytes = self.whole[start:stop]) -> None:
                with self.path.open("ab") as file:
                    file.write(part)

            yield append

    def _stretches(self, cuts: list[int]) -> list[tuple[int, int]]:
        at = sorted({cut % len(self.whole) for cut in cuts} | {0, len(self.whole)})
        return list(itertools.pairwise(at))


def judge_in(root: int, file: Seen) -> Content | None:
    folder, name = split(file.path)
    with opened_below(root, folder) as place, opened(name, files.FILE, place) as descriptor:
        return content.judge(FileSource(descriptor, file.size, local=True), name)


@settings(max_examples=500, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    name=st.sampled_from(sorted(WHOLE)),
    way=st.sampled_from(["slowly", "size_first", "times_kept", "renamed", "touched", "reopened"]),
    cuts=st.lists(st.integers(0, 10_000), max_size=4),
    looks_between=st.integers(0, 3),
)
def test_no_file_is_ready_before_it_is_whole(name: str, way: str, cuts: list[int], looks_between: int) -> None:
    if way == "reopened" and name == "d.bin":
        return  # nobody can know that more will come
    place = Path(tempfile.mkdtemp())
    try:
        with ExitStack() as stack, opened(place) as root:
            writer, looks, now = Writer(place / name, WHOLE[name], stack), Looks("still", IGNORED, 1e9), 0.0
            ready = []
            for step in getattr(writer, way)(cuts):
                step()
                for _ in range(looks_between):
                    now += 10.0
                    ready = looks.look(files.walk(root, looks.is_ignored), now, lambda file: judge_in(root, file))
                    for one in ready:
                        assert (place / one.file.path).read_bytes() == WHOLE[name], f"{one.file.size} bytes were taken"
            for _ in range(2):
                now += 10.0
                ready = looks.look(files.walk(root, looks.is_ignored), now, lambda file: judge_in(root, file))
            assert [one.file.path for one in ready] == [name]
    finally:
        shutil.rmtree(place)
