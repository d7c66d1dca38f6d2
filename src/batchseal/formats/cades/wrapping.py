"""A CMS with the document in it (RFC 5652 5.2), made of a detached one, and the lengths of both. DER with definite lengths."""

from dataclasses import dataclass

from batchseal.formats.cms import ID_TIME_STAMP
from batchseal.formats.der import CONTEXT_0, ID_SIGNED_DATA, OCTET_STRING, SEQUENCE, content_at, header, whole

ID_DATA = bytes.fromhex("06092a864886f70d010701")
# EncapsulatedContentInfo without content: what a detached CMS has in the place of the document.
WITHOUT_CONTENT = SEQUENCE + bytes([len(ID_DATA)]) + ID_DATA


def attached(detached: bytes, content_bytes: int) -> tuple[bytes, bytes]:
    """What stands before and behind a document of so many bytes in the CMS that contains it. `detached` is the CMS without it."""
    info = content_at(detached, content_at(detached, 0) + len(ID_SIGNED_DATA))
    first = content_at(detached, info)  # of SignedData: version and digestAlgorithms, then the content, then the rest
    split = detached.index(WITHOUT_CONTENT, first)
    before, rest = detached[first:split], detached[split + len(WITHOUT_CONTENT) :]
    octets = header(OCTET_STRING, content_bytes)
    explicit = header(CONTEXT_0, len(octets) + content_bytes)
    content = ID_DATA + explicit + octets
    encapsulated = header(SEQUENCE, len(content) + content_bytes) + content
    data_bytes = len(before) + len(encapsulated) + content_bytes + len(rest)
    data = header(SEQUENCE, data_bytes)
    tagged = header(CONTEXT_0, len(data) + data_bytes)
    outside = ID_SIGNED_DATA + tagged + data
    head = header(SEQUENCE, len(outside) + data_bytes) + outside + before + encapsulated
    return head, rest


@dataclass(frozen=True, slots=True)
class Lengths:
    """What of a CMS is as long whatever its document, signature value and time stamp are.

    `signer_bytes` is the content of the SignerInfo without these, `data_bytes` that of the SignedData without document and
    SignerInfos.
    """

    signer_bytes: int
    data_bytes: int

    def total(self, content_bytes: int | None, signature_bytes: int, time_stamp_bytes: int, more_bytes: int = 0) -> int:
        """The length of the CMS, with a document of so many bytes (None: without), and with a time stamp (0: without).

        The fields of SignedData are `more_bytes` longer than those of level B.
        """
        stamp = whole(whole(len(ID_TIME_STAMP) + whole(time_stamp_bytes))) if time_stamp_bytes else 0
        signers = whole(whole(self.signer_bytes + whole(signature_bytes) + stamp))
        content = len(WITHOUT_CONTENT)
        if content_bytes is not None:
            content = whole(len(ID_DATA) + whole(whole(content_bytes)))
        return whole(len(ID_SIGNED_DATA) + whole(whole(self.data_bytes + more_bytes + content + signers)))
