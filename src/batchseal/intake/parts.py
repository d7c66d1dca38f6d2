"""What an intake has given out of a document before its last byte has arrived."""

from typing import TYPE_CHECKING

from batchseal.document import DocumentPart
from batchseal.intake.schema import sniff

if TYPE_CHECKING:
    from typing_extensions import Buffer

# Of a document that is given out in parts, so much is collected for each part but the last one.
PART_BYTES = 1 << 20


class GivenParts:
    """The parts of the document that is arriving."""

    def __init__(self, ordinal: int, first: "Buffer") -> None:
        self.sniffed = sniff(memoryview(first))
        self.total_bytes = 0
        self._ordinal = ordinal

    def part(self, content: "Buffer") -> DocumentPart:
        """The next part."""
        self.total_bytes += memoryview(content).nbytes
        return DocumentPart(self._ordinal, content)
