"""How much an instance may reserve in all: temporary space, memory for uploads, deliveries, documents in the queue, and rows.

Of each of them a part is kept for client services that have little of it (`Shares`), so that one which takes all of something is
refused first. A client service that is the only one has everything.
"""

from dataclasses import dataclass

from batchseal.settings.load import Settings
from batchseal.settings.sizing import planned


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """What every client service can have, although others have taken all that there is: in percent of the budgets.

    Raises ValueError for a percentage that makes no sense.
    """

    space: int = 5
    memory: int = 12
    queue: int = 10
    rows: int = 5
    deliveries: int = 25

    def __post_init__(self) -> None:
        if min(self.space, self.memory, self.queue, self.rows, self.deliveries) < 0 or self.memory > 50:
            raise ValueError(f"shares are from 0 to 100 percent, that of the memory at most 50: {self}")

    @classmethod
    def of(cls, settings: Settings) -> "Shares":
        return cls(
            space=settings.share_space,
            memory=settings.share_memory,
            queue=settings.share_queue,
            rows=settings.share_rows,
            deliveries=settings.share_deliveries,
        )


DEFAULT_SHARES = Shares()


@dataclass(frozen=True, slots=True)
class Budgets:
    """What all requests of an instance may reserve together, and what one upload needs, in bytes.

    The queue and the rows are counted in documents. `deliveries` is for each worker.
    """

    temp_bytes: int
    memory_bytes: int
    queued_documents: int
    upload_bytes: int = 14 << 20  # the most memory that an upload of small documents uses, however long it is
    window_bytes: int = 3 << 20  # the size of a batch of documents
    deliveries: int = 64
    document_rows: int = 50_000_000  # 0: no limit
    shares: Shares = DEFAULT_SHARES

    @property
    def delivered_batch_bytes(self) -> int:
        """The size of a batch of signed documents that is read while the one before goes out."""
        return self.window_bytes // 2


def room(budget: int, share: int, used: int, own: int) -> int:
    """How much more a client may take of a budget of which `used` is taken, `own` by itself. It may be negative.

    Everybody may take what is left of the budget. Beyond it there is one more share, for those who have less than a share.
    """
    return max(budget - used, min(share - own, budget + share - used))


def budgets_of(settings: Settings) -> Budgets:
    """The budgets that follow from the settings, and from the memory and processors of the container.

    Temporary space is twice the files in flight, as in the original product.
    """
    sizes = planned(settings)
    return Budgets(
        temp_bytes=2 * settings.files_in_flight * settings.average_document_bytes,
        memory_bytes=sizes.uploads_bytes,
        queued_documents=settings.max_queued_documents or settings.files_in_flight,
        upload_bytes=sizes.upload_bytes,
        window_bytes=sizes.window_bytes,
        deliveries=settings.max_deliveries,
        document_rows=settings.max_document_rows,
        shares=Shares.of(settings),
    )
