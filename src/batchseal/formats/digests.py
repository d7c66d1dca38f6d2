"""Digests of documents that lie in memory in parts, for all formats that digest the bytes as they are."""

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from batchseal._native import digest

if TYPE_CHECKING:
    from typing_extensions import Buffer


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
