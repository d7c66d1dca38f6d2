"""Names of the files that are put into output and backup folders: as those that came, unless they are taken or cannot be.

A name of a file has at most 255 bytes in Linux, and fewer on some file systems; what is added to one is put before its extension,
and its stem becomes shorter.
"""

import os
import re
from collections.abc import Iterator

MOST_NAME_BYTES = 255
# What is tried where a name is too long: that of eCryptfs, and one that is short anywhere.
SHORTER_NAME_BYTES = (143, 64)
# A longer ending is no extension.
MOST_EXTENSION_BYTES = 16
MOST_TRIES = 1_000
# What ` (ID-999)` takes with the largest ID, and what a name is to have at least.
MARK_BYTES, LEAST_NAME_BYTES = 32, 64
# What file systems of other operating systems do not take in a name.
FOREIGN = re.compile(r'[\x00-\x1f\x7f"*:<>?\\|\udc80-\udcff]')


def with_suffix(name: str, suffix: str) -> str:
    """The name with something behind it, such as `.p7m`. The name loses its last characters where it would be too long."""
    return shortened(name, MOST_NAME_BYTES - len(os.fsencode(suffix))) + suffix


def failure_name(name: str, pattern: str) -> str:
    """The name of the text that says why a file was not signed; `pattern` has `{name}` for the name of the file."""
    before, after = pattern.split("{name}")
    return before + shortened(name, MOST_NAME_BYTES - len(os.fsencode(before + after))) + after


def is_failure_name(name: str, pattern: str) -> bool:
    """Whether a file may be such a text, by its name. A mark before the extension does not matter."""
    before, after = pattern.split("{name}")
    return name.startswith(before) and name.endswith(after)


def candidates(name: str, mark: str, most_bytes: int = MOST_NAME_BYTES) -> Iterator[str]:
    """The name, and what it becomes where it is taken: `fatura.pdf`, `fatura (7498).pdf`, `fatura (7498-2).pdf`."""
    stem, extension = parts(name)
    for number in range(MOST_TRIES):
        between = f" ({mark}-{number})" if number > 1 else f" ({mark})" if number else ""
        room = most_bytes - len(os.fsencode(between + extension))
        yield shortened(stem, room) + between + extension


def within(folder: str, name: str, most_bytes: int) -> tuple[str, str]:
    """A folder and a name in it whose path has at most so many bytes, also with a mark.

    The name becomes shorter where that is enough. Else there is no folder.
    """
    name_bytes, room = len(os.fsencode(name)), most_bytes - MARK_BYTES
    if folder and (left := room - len(os.fsencode(folder)) - 1) >= min(name_bytes, LEAST_NAME_BYTES):
        room = left
    else:
        folder = ""
    if name_bytes > room:
        stem, extension = parts(name)
        name = shortened(stem, room - len(os.fsencode(extension))) + extension
    return folder, name


def parts(name: str) -> tuple[str, str]:
    """The stem and the extension, which has its dot and may be empty."""
    stem, dot, extension = name.rpartition(".")
    if not stem or len(os.fsencode(extension)) > MOST_EXTENSION_BYTES:
        return name, ""
    return stem, dot + extension


def shortened(text: str, most_bytes: int) -> str:
    """The first characters of a text that have at most so many bytes together."""
    encoded = os.fsencode(text)
    if len(encoded) <= most_bytes:
        return text
    return "".join(_whole(text, most_bytes))


def _whole(text: str, most_bytes: int) -> Iterator[str]:
    for character in text:
        most_bytes -= len(os.fsencode(character))
        if most_bytes < 0:
            return
        yield character


def plain(name: str) -> str:
    """A name that other operating systems take too, for a folder that does not take the name as it is."""
    return shortened(FOREIGN.sub("_", name).rstrip(". ") or "_", MOST_NAME_BYTES)


def shown(path: str, most_characters: int) -> str:
    """A path as a text that may be stored and shown: what is no character becomes U+FFFD. Of a longer one, the end."""
    text = os.fsencode(path).decode("utf-8", "replace")
    text = "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)
    return text if len(text) <= most_characters else "\N{HORIZONTAL ELLIPSIS}" + text[1 - most_characters :]
