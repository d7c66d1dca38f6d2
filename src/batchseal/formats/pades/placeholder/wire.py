"""What the finder and the keeper say to each other: one message of a SOCK_SEQPACKET socket each way.

A request is a msgpack map with the descriptor of a memfd beside it, and an answer is a msgpack map.
"""

from enum import IntEnum

import msgspec

# The longest request: a word is bounded by the limit of texts in a request.
MESSAGE_BYTES = 64 << 10
# What a searcher may take beside the document: PDFium's own memory, and so many times the document for what it reads of it.
SEARCH_BYTES, SEARCH_FACTOR = 48 << 20, 4


class Found(IntEnum):
    """How a search ended."""

    FOUND = 1
    NOT_FOUND = 2
    UNREADABLE = 3  # PDFium does not open the document
    DIED = 4  # the searcher died twice
    TOO_LONG = 5  # the search took too much processor time


class Query(msgspec.Struct):
    """Look for `word` in the document in the memfd, which has `content_bytes`. `client` is whose document it is."""

    client: str
    word: str
    content_bytes: int


class Answer(msgspec.Struct):
    """`page` counts from 1; `x` and `y` are in the user space of the page: the word's lower left corner as the page is shown."""

    found: Found
    page: int = 0
    x: float = 0.0
    y: float = 0.0


def memory_needed(content_bytes: int) -> int:
    """The most memory that a search takes: the copy of the document, and what a searcher may take."""
    return content_bytes + search_limit(content_bytes)


def search_limit(content_bytes: int) -> int:
    """What a searcher may take more than it has."""
    return SEARCH_BYTES + SEARCH_FACTOR * content_bytes


def seconds_allowed(content_bytes: int) -> float:
    """The processor time of a search. A page takes about a millisecond; a document of 20 MB may have thousands of them."""
    return min(20.0, 3.0 + content_bytes / (4 << 20))


encode = msgspec.msgpack.Encoder().encode
decode_query = msgspec.msgpack.Decoder(Query).decode
decode_answer = msgspec.msgpack.Decoder(Answer).decode
