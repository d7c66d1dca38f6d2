"""Decodes the JSON of a request into the types of `schema.py`.

Callers of the original product rely on what a service that is built with Jackson takes by default. So these values are taken as
well, where only one meaning is possible: a number where a text is expected, as it is written (`2026001`, `1.10`), and for true or
false the same word as a text (`"true"`, `"False"`), 1 or 0. Whatever else does not fit is refused in the words of JSON.
"""

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar, get_args, get_origin

import msgspec

from batchseal.errors import InvalidRequest

if TYPE_CHECKING:
    from typing_extensions import Buffer

T = TypeVar("T")

# RFC 8259 8.1: whoever reads JSON may ignore a byte order mark in front of it. Texts that were written on Windows often have one.
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
WHITESPACE = b" \t\r\n"
BOOLEANS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
# What JSON calls a value, by its first byte. All others begin a number.
NAMES = {b'"': "a text", b"[": "a list", b"{": "an object", b"t": "true", b"f": "false", b"n": "null"}


class Reader(Generic[T]):
    """Decodes one type. It may consist of msgspec structures, lists, dictionaries, texts, booleans and integers."""

    def __init__(self, kind: type[T]) -> None:
        self._kind = kind
        self._decode = msgspec.json.Decoder(kind).decode

    def read(self, data: "Buffer", place: str) -> T:
        """The value in `data`, which must be UTF-8 and may begin with a byte order mark.

        Raises InvalidRequest, which names the attribute. `place` is the place of this text in the body ("" for the body itself).
        """
        text = memoryview(data)
        if text[: len(BYTE_ORDER_MARK)] == BYTE_ORDER_MARK:
            text = text[len(BYTE_ORDER_MARK) :]
        try:
            try:
                return self._decode(text)
            except msgspec.ValidationError:  # most requests never come here
                return _read(bytes(text).strip(WHITESPACE), self._kind, place)  # type: ignore[no-any-return]
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise InvalidRequest(f"{place or 'the body'} is not JSON in UTF-8") from None


def _read(text: bytes, kind: Any, place: str) -> Any:
    """The value of `kind` that stands in `text`, without space around it. Only what `kind` names is decoded.

    Raises InvalidRequest where only a guess could make the value fit, and what msgspec raises for text that is not JSON.
    """
    first = text[:1]
    kind, origin, is_optional, is_structure = _shape(kind)
    if is_optional and first == b"n":
        return None
    if kind is str:
        if first != b'"' and first in NAMES:
            _refuse(place, "a text", first)
        return _decode_text(text) if first == b'"' else text.decode("ascii")
    if kind is bool:
        return _read_boolean(text, place)
    if origin is list:
        if first != b"[":
            _refuse(place, "a list", first)
        elements = msgspec.json.decode(text, type=list[msgspec.Raw])
        return [_read(bytes(element), get_args(kind)[0], f"{place}[{at}]") for at, element in enumerate(elements)]
    if first != b"{" and (is_structure or origin is dict):
        _refuse(place, "an object", first)
    if not is_structure:
        return msgspec.json.decode(text, type=kind)
    undecoded, values = _undecoded(kind)(text), dict[str, Any]()
    for field in _fields(kind):
        if (raw := getattr(undecoded, field.name)) is not None:
            inner = f"{place}.{field.encode_name}" if place else field.encode_name
            values[field.name] = _read(bytes(raw), field.type, inner)
    return kind(**values)


_decode_text = msgspec.json.Decoder(str).decode
_fields = cache(msgspec.structs.fields)


@cache
def _shape(kind: Any) -> tuple[Any, Any, bool, bool]:
    """The type without `| None`, its origin (list, dict or None), whether None was in it, and whether it is a structure."""
    is_optional = type(None) in get_args(kind)
    if is_optional:
        kind = next(one for one in get_args(kind) if one is not type(None))
    return kind, get_origin(kind), is_optional, isinstance(kind, type) and issubclass(kind, msgspec.Struct)


@cache
def _undecoded(kind: type[msgspec.Struct]) -> Callable[[bytes], msgspec.Struct]:
    """Decodes an object into a structure with the fields of `kind`, each of which holds its value as it is written, or None."""
    fields = [(field.name, msgspec.Raw, None) for field in _fields(kind)]
    return msgspec.json.Decoder(
        msgspec.defstruct(f"Undecoded{kind.__name__}", fields, rename="camel", kw_only=True)
    ).decode


def _read_boolean(text: bytes, place: str) -> bool:
    # Jackson also takes other numbers, and an empty text. What their sender means is open to doubt.
    found = {b"true": True, b"false": False, b"1": True, b"0": False}.get(text)
    if found is None and text[:1] == b'"':
        found = BOOLEANS.get(_decode_text(text).strip())
    if found is None:
        _refuse(place, "true or false", text[:1])
    return found


def _refuse(place: str, expected: str, first: bytes) -> NoReturn:
    sent = NAMES.get(first, "a number")
    raise InvalidRequest(f"{place or 'the request'}: {expected} is expected, {sent} was sent")
