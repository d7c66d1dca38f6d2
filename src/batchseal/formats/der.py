"""Reads and writes DER where it is only taken apart and put together (X.690). Tags have one byte, lengths are definite."""

from batchseal.errors import ItemRejected

SEQUENCE, SET, OCTET_STRING, CONTEXT_0, CONTEXT_1 = b"\x30", b"\x31", b"\x04", b"\xa0", b"\xa1"
ID_SIGNED_DATA = bytes.fromhex("06092a864886f70d010702")


def header(tag: bytes, length: int) -> bytes:
    """Tag and length of a value (X.690 8.1.3, in the shortest form)."""
    if length < 128:
        return tag + bytes((length,))
    if length < 65_536:  # nearly all
        return tag + (bytes((0x81, length)) if length < 256 else b"\x82" + length.to_bytes(2, "big"))
    size = -(-length.bit_length() // 8)
    return tag + bytes([0x80 | size]) + length.to_bytes(size, "big")


def whole(length: int) -> int:
    """The length of a value with its tag and length, where the tag is one byte."""
    return len(header(SEQUENCE, length)) + length


def content_at(der: bytes, at: int) -> int:
    """Where the content of the value at `at` begins."""
    return at + 2 + (der[at + 1] & 0x7F if der[at + 1] & 0x80 else 0)


def end_at(der: bytes, at: int) -> int:
    """Where the value at `at` ends, which may be behind the end of `der`. Raises ItemRejected for an indefinite length."""
    try:
        length = der[at + 1]
        if length < 0x80:
            return at + 2 + length
        if length == 0x80:
            raise ItemRejected("a CMS is not in DER")
        begin = at + 2 + (length & 0x7F)
        return begin + int.from_bytes(der[at + 2 : begin], "big")
    except IndexError:
        raise ItemRejected("a CMS is not in DER") from None


def signed_data(info: bytes) -> list[bytes]:
    """The elements of the SignedData in a ContentInfo. Raises ItemRejected."""
    kind, explicit = children(info)
    if kind != ID_SIGNED_DATA:
        raise ItemRejected("a CMS holds no signature")
    return children(children(explicit)[0])


def children(der: bytes) -> list[bytes]:
    """The values in a constructed value, each whole. Raises ItemRejected for indefinite lengths and for a value that is cut."""
    found = list[bytes]()
    try:
        at, end = content_at(der, 0), len(der)
        while at < end:
            length = der[at + 1]
            if length < 0x80:
                stop = at + 2 + length
            elif length == 0x82:  # most of the others
                stop = at + 4 + (der[at + 2] << 8 | der[at + 3])
            else:
                begin = at + 2 + (length & 0x7F)
                stop = begin + int.from_bytes(der[at + 2 : begin], "big") if length != 0x80 else 0
            if not at < stop <= end:
                raise ItemRejected("a CMS is not in DER")
            found.append(der[at:stop])
            at = stop
    except IndexError:
        raise ItemRejected("a CMS is not in DER") from None
    return found


def tlv(tag: bytes, *contents: bytes) -> bytes:
    """A value of one-byte tag around contents."""
    inside = b"".join(contents)
    return header(tag, len(inside)) + inside
