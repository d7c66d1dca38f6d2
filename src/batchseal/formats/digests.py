"""Digests of documents that lie in memory in parts, and of signed documents whose original lies elsewhere, for all formats."""

import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from batchseal._native import digest
from batchseal.document import BegunDigest, SignedDocument, Stretch, bytes_in
from batchseal.errors import ItemRejected

if TYPE_CHECKING:
    from typing_extensions import Buffer

# What is read at once of an original that is not in memory: as long as a block of `payloads/blocks.py`.
READ_BYTES = 48 << 10


def document_digests(algorithm: str, documents: "Sequence[tuple[Buffer, ...]]") -> list[bytes]:
    """The digest of each document. Its parts are never joined."""
    if algorithm == "sha256":
        return digest.sha256_many(documents)
    return [_library_digest(algorithm, segments) for segments in documents]


def _library_digest(algorithm: str, segments: "Sequence[Buffer]") -> bytes:
    state = hashlib.new(algorithm)
    for segment in segments:
        state.update(segment)
    return state.digest()


def signed_digest(
    signed: SignedDocument, begun: BegunDigest | None, original_bytes: int, read: "Callable[[int, int], Buffer]"
) -> bytes:
    """The SHA-256 of a signed document whose original was given as one `Stretch` of so many bytes.

    `read` gives the bytes of the original from one place to another. It is called, in order and for READ_BYTES at most, for what
    `begun` does not tell. Raises ItemRejected where `begun` is about more than the document.
    """
    begun = begun or BegunDigest(b"", 0)
    state, covered = digest.Sha256State(begun.state), begun.covered_bytes
    rest_from = original_bytes - len(begun.rest)
    for segment in signed.segments:
        length = bytes_in(segment)
        skipped = min(covered, length)
        covered -= skipped
        if not isinstance(segment, Stretch):
            state.update(memoryview(segment).cast("B")[skipped:])
        elif (part := segment[skipped:]).start >= rest_from:
            state.update(begun.rest[part.start - rest_from : part.stop - rest_from])
        else:
            for at in range(part.start, part.stop, READ_BYTES):
                state.update(read(at, min(at + READ_BYTES, part.stop)))
    if covered:
        raise ItemRejected("what was kept of a digest is about more than the document")
    return state.digest()
