"""One batch from its claimed files to its end: an operation, and what comes of it in the output and backup folders.

Each step looks at what is there and does what is missing, so the same code goes on after a crash. A step that fails for a reason
that may pass (a full disk, a database that is away) is tried again until it is done; the files wait where they are.
"""

import asyncio
import errno
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

import structlog

from batchseal.admission.growth import UploadMemory
from batchseal.document import DocumentPart, ReceivedDocument, RequestFacts
from batchseal.entries import content
from batchseal.entries.claims import GIVEN_BACK, PART_BYTES, Claimed
from batchseal.entries.context import Context
from batchseal.entries.files import Seen
from batchseal.entries.interface import BatchFiles
from batchseal.entries.naming import shown
from batchseal.entries.results import OWN_RESULT, Publishing
from batchseal.errors import (
    ApiError,
    BatchsealError,
    FileChanged,
    LeaseLost,
    NoSpace,
    NotFound,
    PayloadUnavailable,
    ReferenceTaken,
    ResultExpired,
)
from batchseal.operation import ContentType, Mode
from batchseal.store.rows import DocumentRow, OperationRow

# Small files are read together, and a larger one alone.
READ_BYTES, READ_FILES = 1 << 20, 64
WAIT_SECONDS = 60.0
# An input that gives less in a second counts as one that hangs.
LEAST_RATE = 128 << 10
UNREADABLE = (errno.EACCES, errno.EPERM, errno.ELOOP, errno.EISDIR, errno.ENXIO)

T = TypeVar("T")

log = structlog.get_logger("hot folder")


class BatchRun:
    """The run over one batch. `id` names the batch, which is opened anew for each try."""

    def __init__(self, context: Context, id: UUID) -> None:
        self._context = context
        self.id = id
        self._failures = 0
        self._late: asyncio.Task[Any] | None = None  # a reading that did not come back in time

    async def run(self) -> bool:
        """Until the batch has ended, or another instance has the folder. False if another instance has its documents."""
        try:
            while True:
                try:
                    if await self._try():
                        return True
                except LeaseLost:
                    return True
                except PayloadUnavailable as problem:
                    self._stalled(problem)
                    return False
                except (OSError, BatchsealError) as problem:
                    await asyncio.sleep(self._stalled(problem))
        finally:
            self._context.counts.stalled.discard(self.id)
            self._context.place.release(self.id)

    def _stalled(self, problem: OSError | BatchsealError) -> float:
        """Says what is wrong, once, and returns the pause before the next try in seconds."""
        self._failures += 1
        cause = (
            problem.cause
            if isinstance(problem, BatchsealError)
            # What is done with an open folder has its number in the place of a name.
            else ": ".join(part for part in (problem.filename, problem.strerror) if isinstance(part, str))
        )
        if self._failures == 1 or self._failures % 20 == 0:
            log.warning(
                "files wait in a hot folder for what is wrong now",
                client_service=self._context.client_service,
                batch=str(self.id),
                cause=cause,
            )
        self._context.counts.stalled.add(self.id)
        asked = problem.retry_after_seconds if isinstance(problem, ApiError) else None
        again = self._context.again
        return max(again.pause_seconds(self._failures), min(asked or 0, again.longest_seconds))

    async def _try(self) -> bool:
        """False if a file has changed, and the list with it, so that all of it is to be done anew."""
        batch = await self._context.threads.run(partial(self._context.place.batch, self.id))
        try:
            claimed = await self._context.threads.run(batch.read_list)
            if claimed is None:
                claimed = await self._context.threads.run(partial(self._list, batch))
            operation: OperationRow | None = None
            documents: list[DocumentRow] = []
            expired = False
            if handed := [one for one in claimed if not one.refusal]:
                operation = await self._operation(batch, claimed, handed)
                if operation is None:
                    return False
                try:
                    operation, documents = await self._end_of(operation)
                except ResultExpired:
                    expired = True
            mark = str(operation.id) if operation is not None else self.id.hex[:8]
            publishing = Publishing(self._context, batch, claimed, mark)
            await publishing.run(operation, documents, expired=expired)
            self._context.counts.stalled.discard(self.id)
            if operation is not None and not expired:
                await self._context.service.fetched(self._context.caller, operation.id)
            return True
        finally:
            try:
                await self._await_late()
            finally:
                batch.close()

    # --- the list ---------------------------------------------------------------------------------------------------

    def _list(self, batch: BatchFiles) -> list[Claimed]:
        """Judges the claimed files, and writes the list of them."""
        claimed = []
        for file in batch.claimed_files():
            try:
                type_, is_result = self._judged(batch, file)
                refusal = OWN_RESULT if is_result else self._context.asking.refusal(file.path, type_, file.size)
            except FileNotFoundError:
                continue  # whoever has brought it has taken it away again
            except OSError as problem:
                if problem.errno not in UNREADABLE:
                    raise
                type_, refusal = ContentType.OTHER, f"the file cannot be read: {problem.strerror}"
            claimed.append(Claimed(file.path, file.size, file.modified_ns, type_, refusal))
        if claimed:
            self._require_lease()
            batch.write_list(claimed)
        return claimed

    def _judged(self, batch: BatchFiles, file: Seen) -> tuple[ContentType, bool]:
        """The type of a file, and whether it is a result of this hot folder."""
        type_, may_be_result = batch.known_type(file.path), self._context.published.may_have(file.size)
        if type_ is not None and not may_be_result:
            return type_, False
        with batch.opened_source(file) as source:
            if type_ is None:
                type_ = content.type_of(source.read_at(content.HEAD_BYTES, 0), file.path)
            return type_, may_be_result and self._context.published.has(source)

    # --- the operation ------------------------------------------------------------------------------------------------

    async def _operation(
        self, batch: BatchFiles, claimed: Sequence[Claimed], handed: Sequence[Claimed]
    ) -> OperationRow | None:
        """The operation that has the files, registered now if there is none yet. None if one of the files has changed."""
        context = self._context
        try:
            return (await context.service.status(context.caller, batch.reference))[0]
        except NotFound:
            pass
        self._require_lease()
        if doubles := await context.threads.run(batch.doubles):
            await context.threads.run(partial(self._give_back, batch, claimed, doubles))
            return None
        facts = RequestFacts(
            external_reference=batch.reference,
            description=shown(f"files of the hot folder {context.place.said}", context.description_characters),
            return_signed_content=None,
            documents_total=len(handed),
        )
        total = sum(one.size for one in handed)
        try:
            return await context.service.take_in(
                context.caller, Mode.HOT_FOLDER, facts, partial(self._documents, batch, handed), documents_bytes=total
            )
        except ReferenceTaken as taken:
            return await context.service.status_by_id(context.caller, taken.operation_id)
        except FileChanged as changed:
            await self._context.threads.run(partial(self._give_back_changed, batch, claimed, handed, changed))
            return None
        except NoSpace:
            # There may never be space for all of them at once, so half of them come back as another batch.
            if halves := [one.path for one in handed[(len(handed) + 1) // 2 :]]:
                await self._context.threads.run(partial(self._give_back, batch, claimed, halves))
            raise

    def _give_back(self, batch: BatchFiles, claimed: Sequence[Claimed], paths: Sequence[str]) -> None:
        """Takes files out of the list that have changed since, or for which there is no space. No operation has them yet.

        For an instance that has lost the lease a file has also changed where another one has signed it and moved it away: then
        the list is not its own any more. The others keep their numbers. There are notes already where a database was restored
        that does not know the operation.
        """
        self._require_lease()
        gone = set(paths)
        batch.write_list([replace(one, refusal=GIVEN_BACK) if one.path in gone else one for one in claimed])
        batch.give_back([path for path in paths if batch.holds(path)])

    def _give_back_changed(
        self, batch: BatchFiles, claimed: Sequence[Claimed], handed: Sequence[Claimed], changed: FileChanged
    ) -> None:
        """Takes out a file that has changed, together with all that are not here any more."""
        paths = [one.path for one in handed if one.path == changed.cause or not batch.holds(one.path)]
        self._give_back(batch, claimed, paths)

    def _require_lease(self) -> None:
        if not self._context.is_ours():
            raise LeaseLost("another instance works on this folder now")

    async def _documents(
        self, batch: BatchFiles, handed: Sequence[Claimed], memory: UploadMemory
    ) -> AsyncGenerator[Sequence[ReceivedDocument] | DocumentPart, None]:
        """1 receive: the files in their order. Raises FileChanged."""
        describe = self._context.asking.description
        for first, group in groups(handed):
            if memory.comes_in_parts(group[0].size):
                async with aclosing(self._parts(batch, group[0])) as parts:
                    async for part in parts:
                        yield DocumentPart(first, part)
                memory.complete([group[0].size])
                yield [ReceivedDocument(first, b"", group[0].size, describe(group[0].path, group[0].type))]
                continue
            for one in group:
                await memory.grows(one.size)
                if len(group) > 1:
                    memory.complete([one.size])
            contents = await self._answer(partial(batch.read, group), sum(one.size for one in group))
            if len(group) == 1:
                memory.complete([group[0].size])
            yield [
                ReceivedDocument(first + number, read, one.size, describe(one.path, one.type))
                for number, (one, read) in enumerate(zip(group, contents, strict=True))
            ]
            del contents

    async def _answer(self, read: Callable[[], T], size: int) -> T:
        """What was read, so many bytes. Raises OSError (ETIMEDOUT) if the input hangs, so that nothing stays reserved."""
        reading = asyncio.create_task(self._context.threads.run(read))
        try:
            await asyncio.wait((reading,), timeout=self._context.answer_seconds + size / LEAST_RATE)
        except asyncio.CancelledError:
            reading.cancel()
            await asyncio.wait((reading,))
            raise
        if reading.done():
            return reading.result()
        self._late = reading
        raise OSError(errno.ETIMEDOUT, "the input folder does not answer", self._context.place.said)

    async def _await_late(self) -> None:
        """Waits for the thread that still uses the batch."""
        if (late := self._late) is None:
            return
        self._stalled(OSError(errno.ETIMEDOUT, "the input folder does not answer", self._context.place.said))
        try:
            await asyncio.wait((late,))
        finally:
            late.cancel()
            await asyncio.wait((late,))
            self._late = None

    async def _parts(self, batch: BatchFiles, one: Claimed) -> AsyncGenerator[bytes, None]:
        """A file that is too large to be held. Raises FileChanged."""
        parts = batch.parts(one)
        try:
            while part := await self._answer(partial(next, parts, b""), PART_BYTES):
                yield part
        finally:
            if self._late is None:  # else a thread still uses it
                await self._context.threads.run(parts.close)

    async def _end_of(self, operation: OperationRow) -> tuple[OperationRow, list[DocumentRow]]:
        """Waits for the end of the operation. Raises ResultExpired."""
        service, caller = self._context.service, self._context.caller
        while not operation.status.finished:
            await service.wait(operation.id, WAIT_SECONDS, caller)
            operation = await service.status_by_id(caller, operation.id)
        return await service.finished_operation(caller, operation_id=operation.id)


def groups(handed: Sequence[Claimed]) -> Iterator[tuple[int, list[Claimed]]]:
    """Files that are read together, with the number of the first one."""
    group, total, first = list[Claimed](), 0, 0
    for number, one in enumerate(handed):
        if group and (total + one.size > READ_BYTES or len(group) >= READ_FILES):
            yield first, group
            group, total, first = [], 0, number
        group.append(one)
        total += one.size
    if group:
        yield first, group
