"""How much an instance may reserve in all: temporary space, memory for uploads, documents in the queue."""

from dataclasses import dataclass

from batchseal.settings.load import Settings
from batchseal.settings.sizing import plan
from batchseal.system.cgroups import available_cores, available_memory


@dataclass(frozen=True, slots=True)
class Budgets:
    """What all requests of an instance may reserve together, and what one upload needs. All in bytes, except for the queue."""

    temp_bytes: int
    memory_bytes: int
    queued_documents: int
    upload_bytes: int = 18 << 20  # the most memory that an upload uses, however long it is
    window_bytes: int = 4 << 20  # the size of a batch of documents


def budgets_of(settings: Settings) -> Budgets:
    """The budgets that follow from the settings, and from the memory and processors of the container.

    Temporary space is twice the files in flight, as in the original product.
    """
    sizes = plan(available_memory(settings.memory_limit), available_cores(), settings.workers)
    return Budgets(
        temp_bytes=2 * settings.files_in_flight * settings.average_document_bytes,
        memory_bytes=sizes.uploads_bytes,
        queued_documents=settings.max_queued_documents or settings.files_in_flight,
        upload_bytes=sizes.upload_bytes,
        window_bytes=sizes.window_bytes,
    )
