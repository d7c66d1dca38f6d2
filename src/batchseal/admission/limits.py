"""How much there is: the temporary budget, the memory that a container gives, the upstream queue."""

from dataclasses import dataclass

from batchseal.settings.load import Settings
from batchseal.settings.sizing import plan
from batchseal.system.cgroups import available_cores, available_memory


@dataclass(frozen=True, slots=True)
class Budgets:
    temp_bytes: int
    memory_bytes: int
    queued_documents: int
    upload_bytes: int = 18 << 20  # what an upload holds at most, however long it is
    window_bytes: int = 4 << 20  # documents of a batch


def budgets_of(settings: Settings) -> Budgets:
    """Temporary space is twice the files in flight, as in the original; memory comes from the container or from the setting."""
    sizes = plan(available_memory(settings.memory_limit), available_cores(), settings.workers)
    return Budgets(
        temp_bytes=2 * settings.files_in_flight * settings.average_document_bytes,
        memory_bytes=sizes.uploads_bytes,
        queued_documents=settings.max_queued_documents or settings.files_in_flight,
        upload_bytes=sizes.upload_bytes,
        window_bytes=sizes.window_bytes,
    )
