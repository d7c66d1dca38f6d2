"""What comes of the files of a batch once its operation has ended: signed files, texts about the others, the originals."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import partial

from batchseal.entries.claims import Claimed
from batchseal.entries.context import Context
from batchseal.entries.files import split
from batchseal.entries.interface import BatchFiles, Publishes
from batchseal.entries.naming import failure_name, is_failure_name, shown, with_suffix
from batchseal.operation import DocumentStatus
from batchseal.pipeline.encode import Delivered
from batchseal.store.rows import DocumentRow, OperationRow

# The kinds of texts, and where they go.
TEXTS = {"text": "output", "backup-text": "backup"}
# A piece of a large document, and how many small documents are written at once.
PIECE_BYTES, WRITTEN_AT_ONCE = 1 << 20, 4
OWN_RESULT = "the file is a result of this hot folder, and is not signed again"
EXPIRED = "the file was signed, but its result is no longer kept; put the file into the input folder again"


class Publishing:
    """What comes of the files of a batch. `mark` goes into names that are taken."""

    def __init__(self, context: Context, batch: BatchFiles, claimed: Sequence[Claimed], mark: str) -> None:
        self._context = context
        self._batch = batch
        self._claimed = claimed
        self._mark = mark
        self._run = context.threads.run
        self._publisher: Publishes

    async def run(self, operation: OperationRow | None, rows: Sequence[DocumentRow], *, expired: bool) -> None:
        """Until every original is in the backup. Raises OSError, LeaseLost, ApiError."""
        self._publisher = await self._run(self._begin)
        try:
            await self._publish(operation, rows, expired=expired)
        finally:
            self._publisher.close()

    async def _publish(self, operation: OperationRow | None, rows: Sequence[DocumentRow], *, expired: bool) -> None:
        handed = [number for number, one in enumerate(self._claimed) if not one.refusal]
        row_of = dict(zip(handed, rows, strict=False))  # there are no rows of a result that is no longer kept
        results = [key for key in self._publisher.noted() if key[1] != "original"]
        kinds: dict[int, set[str]] = {}
        for number, kind in results:
            kinds.setdefault(number, set()).add(kind)
        # Of two texts, one may have been noted and lost.
        are_noted = {number for number, some in kinds.items() if "result" in some or some.issuperset(TEXTS)}
        left = [
            n for n in await self._run(partial(self._batch.left, self._claimed)) if not self._claimed[n].is_given_back
        ]
        settled = self._context.place.settled  # so many together: one note for all of them
        for at in range(0, len(left), settled):
            part = left[at : at + settled]
            part_numbers = set(part)
            noted = [key for key in results if key[0] in part_numbers]
            fresh = [n for n in part if n not in are_noted]
            untold = [n for n in fresh if n not in kinds and n in row_of]
            signed = {n: row_of[n] for n in untold if row_of[n].status is DocumentStatus.SIGNED}
            causes = {n: self._cause(n, row_of.get(n), expired=expired) for n in fresh if n not in signed}
            if operation is not None and signed:
                causes |= await self._write_signed(operation, signed)
            await self._run(partial(self._settle, noted, causes, operation, part))
            self._context.counts.failed += len(causes)
            self._context.counts.signed += len(fresh) - len(causes)
        await self._run(self._publisher.end)

    def _begin(self) -> Publishes:
        context = self._context
        publisher = context.place.publisher(self._batch, self._mark, context.is_ours, context.published)
        publisher.tidy()
        return publisher

    def _cause(self, number: int, row: DocumentRow | None, *, expired: bool) -> str:
        if refusal := self._claimed[number].refusal:
            return refusal
        if expired:
            return EXPIRED
        return (row.cause if row is not None else None) or "the document was not signed"

    # --- results --------------------------------------------------------------------------------------------------------

    async def _write_signed(self, operation: OperationRow, signed: dict[int, DocumentRow]) -> dict[int, str]:
        """Writes the signed documents aside. Returns why others could not be given back, by their numbers."""
        service, caller = self._context.service, self._context.caller
        rows = list(signed.values())
        numbers = {row.ordinal: number for number, row in signed.items()}
        causes: dict[int, str] = {}
        reserved = Reserved(partial(service.admit_delivery, caller, operation, rows), self._context.answer_seconds)
        await reserved.extend()
        writing = set[asyncio.Task[None]]()
        try:
            async for delivered in service.deliver(operation, rows, encoding="raw"):
                await reserved.extend()
                number = numbers[delivered.row.ordinal]
                if delivered.row.status is not DocumentStatus.SIGNED:
                    causes[number] = delivered.row.cause or "the signed document cannot be read"
                elif delivered.stream is not None:
                    await self._write_stream(number, delivered, reserved)
                else:
                    writing.add(asyncio.create_task(self._write_small(number, delivered)))
                    if len(writing) >= WRITTEN_AT_ONCE:
                        writing = await first_of(writing)
            while writing:
                writing = await first_of(writing)
        finally:
            for task in writing:
                task.cancel()
            await asyncio.gather(*writing, return_exceptions=True)
            reserved.release()
        return causes

    def _result_path(self, number: int, delivered: Delivered) -> str:
        folder, name = split(self._claimed[number].path)
        name = with_suffix(name, delivered.suffix)
        return f"{folder}/{name}" if folder else name

    async def _write_small(self, number: int, delivered: Delivered) -> None:
        path = self._result_path(number, delivered)

        def write() -> None:
            with self._publisher.draft(number, "result", "output", path) as draft:
                draft.write(delivered.segments)

        await self._run(write)

    async def _write_stream(self, number: int, delivered: Delivered, reserved: "Reserved") -> None:
        """A large document: its pieces are written as they are read."""
        writing = self._publisher.draft(number, "result", "output", self._result_path(number, delivered))
        draft = await self._run(writing.__enter__)
        try:
            pending, size = list[bytes](), 0
            async for piece in delivered.pieces():
                pending.append(piece)
                size += len(piece)
                if size >= PIECE_BYTES:
                    await reserved.extend()
                    await self._run(partial(draft.write, pending))
                    pending, size = [], 0
            await self._run(partial(draft.write, pending))
        except BaseException:
            draft.close()
            raise
        await self._run(partial(writing.__exit__, None, None, None))

    # --- texts, names, originals ------------------------------------------------------------------------------------------

    def _settle(
        self,
        noted: Sequence[tuple[int, str]],
        causes: dict[int, str],
        operation: OperationRow | None,
        part: Sequence[int],
    ) -> None:
        for number, cause in causes.items():
            folder, name = split(self._claimed[number].path)
            if cause == OWN_RESULT and is_failure_name(name, self._context.failure_pattern):
                continue  # a text that came back: one about it would come back too, and so on for ever
            name = failure_name(name, self._context.failure_pattern)
            path = f"{folder}/{name}" if folder else name
            text = self._text(number, cause, operation)
            for kind, where in TEXTS.items():
                if (number, kind) in noted:
                    continue
                with self._publisher.draft(number, kind, where, path) as draft:
                    draft.write([text])
        self._publisher.settle(noted)
        self._publisher.keep_originals({number: self._claimed[number].path for number in part})

    def _text(self, number: int, cause: str, operation: OperationRow | None) -> bytes:
        name = shown(self._claimed[number].path, 4000)
        lines = [
            f"{name} came back, and was not signed again." if cause == OWN_RESULT else f"{name} was not signed.",
            "",
            f"Cause: {cause}",
            f"Client service: {self._context.client_service}",
        ]
        if operation is not None:
            lines.append(f"Operation: {operation.id} ({operation.external_reference})")
        lines.append(f"Time: {datetime.now(UTC).isoformat(timespec='seconds')}")
        return ("\n".join(lines) + "\n").encode("utf-8", "replace")


class Reserved:
    """What is reserved for a delivery. If that does not go on for `seconds`, others may have it, and it is reserved once more.

    A thread that hangs in an output folder goes on holding its few documents.
    """

    def __init__(self, admit: Callable[[], Awaitable[Callable[[], None]]], seconds: float) -> None:
        self._admit = admit
        self._seconds = seconds
        self._release: Callable[[], None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    async def extend(self) -> None:
        """The delivery begins, or goes on. Raises NoRoom."""
        if self._timer is not None:
            self._timer.cancel()
        if self._release is None:
            self._release = await self._admit()
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self.release)

    def release(self) -> None:
        """May be called twice."""
        if self._timer is not None:
            self._timer.cancel()
        release, self._release = self._release, None
        if release is not None:
            release()


async def first_of(tasks: set[asyncio.Task[None]]) -> set[asyncio.Task[None]]:
    """Waits until one of them has ended, and returns the others. Raises what it has raised."""
    done, left = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
    return left
