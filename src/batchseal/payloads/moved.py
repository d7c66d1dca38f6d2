"""What an instance still has in its own folder from before it was given a payload store that others read too.

Operations of that time stay with the instance (`operations.payload_store` is NULL): it alone signs them, gives them back and
purges them. Everything new goes into the other store.
"""

from collections.abc import Iterable
from contextlib import aclosing
from functools import partial
from uuid import UUID

from batchseal.payloads.by_size import PayloadsBySize
from batchseal.payloads.interface import Live, PayloadRecord, Payloads, StoredReader
from batchseal.payloads.wrapping import WrappedPayloads
from batchseal.system.futures import in_pool


class WithOwnFolder(WrappedPayloads):
    """A `Payloads` store. `own` is the folder, which is only read and emptied."""

    def __init__(self, inner: Payloads, own: PayloadsBySize) -> None:
        super().__init__(inner)
        self._own = own

    def _is_own(self, record: PayloadRecord) -> bool:
        """Objects have an index, and nothing else has segments. A file in a shared folder has a record like one in this one."""
        if record.index_bytes:
            return False
        return record.segment is not None or self._own.files.path(record.id).exists()

    def _of(self, record: PayloadRecord) -> Payloads:
        return self._own if self._is_own(record) else self._inner

    def open(self, record: PayloadRecord) -> StoredReader:
        return self._of(record).open(record)

    def reader_bytes(self, record: PayloadRecord) -> int:
        return self._of(record).reader_bytes(record)

    def make_durable(self, record: PayloadRecord) -> None:
        self._of(record).make_durable(record)

    def delete(self, records: Iterable[PayloadRecord]) -> int:
        own, others = list[PayloadRecord](), list[PayloadRecord]()
        for record in records:
            (own if self._is_own(record) else others).append(record)
        freed = self._own.delete(own) if own else 0
        return freed + (self._inner.delete(others) if others else 0)

    def stored_bytes(self) -> int:
        return self._inner.stored_bytes() + self._own.stored_bytes()

    async def sweep(self, live: Live) -> list[UUID]:
        """`live` gives what is in the folder too.

        A database that names nothing there may be another one than that of before, to which the service can go back. Then all
        stays.
        """
        swept = await self._inner.sweep(live)
        if await self._is_named(live):
            swept += await self._own.sweep(live)
        return swept

    async def _is_named(self, live: Live) -> bool:
        """Whether a row names anything in the folder."""
        async with aclosing(live()) as parts:
            async for records in parts:
                if await in_pool(None, partial(any, map(self._is_own, records))):
                    return True
        return False
