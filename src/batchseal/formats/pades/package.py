"""Step 5, package: a signed PDF as its parts. The original is never copied, the CMS goes into the reserved region."""

from typing import TYPE_CHECKING

from batchseal.document import PreparedDigest, SignatureValue, SignedDocument
from batchseal.errors import ItemRejected
from batchseal.formats.cms import CmsTemplate

if TYPE_CHECKING:
    from typing_extensions import Buffer


def package(
    original: "Buffer",
    prepared: PreparedDigest,
    signature: SignatureValue,
    template: CmsTemplate,
    timestamp: bytes = b"",
) -> SignedDocument:
    """Raises ItemRejected where the CMS is larger than the reserved region (ISO 32000-2 12.8.1)."""
    contents = template.signed_data(prepared.message_digest, signature.value, timestamp).hex().encode("ascii")
    room = prepared.reserved_bytes - 2  # the region includes the < and > around the hex digits
    if len(contents) > room:
        raise ItemRejected(f"the CMS takes {len(contents)} hex digits, {room} are reserved")
    region = b"<" + contents.ljust(room, b"0") + b">"
    segments = (original, prepared.head, region, prepared.tail)
    return SignedDocument(prepared.ordinal, segments, sum(len(memoryview(s)) for s in segments))
