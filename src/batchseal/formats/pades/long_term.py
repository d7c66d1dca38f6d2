"""Levels LT and LTA of PAdES (ETSI EN 319 142-1 5.4, 6): the section behind the update that holds the signature.

It has the DSS dictionary with the validation material, and for LTA a document time stamp over all that stands before it. It is
planned with the update, and written when it is needed, by the native planner. What is kept of it is stored with the document.
"""

from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from batchseal._native import digest, planner, section
from batchseal._native.digest import Sha256State
from batchseal.errors import ItemRejected
from batchseal.formats.material import streams

if TYPE_CHECKING:
    from collections.abc import Sequence

    from typing_extensions import Buffer


class Section(msgspec.Struct, frozen=True, omit_defaults=True):
    """A planned section as it is stored: the fields of `planner.PlannedSection`. New fields have defaults.

    `cipher` is the file key of an encrypted document, with what else encrypts the section. The key follows from the document and
    the empty password, so whoever can read what is stored of the document has it anyway; and the section is written again and
    again where nobody has the document at hand.
    `state` is a kept Sha256State behind the head of the update, with which a document time stamp's input begins.
    """

    objects: bytes
    rows: bytes
    dss: int
    next_number: int
    start: int
    previous: int
    trailer: int
    certificates: bytes = b""
    ocsp_responses: bytes = b""
    crls: bytes = b""
    others: bytes = b""
    dss_generation: int = 0
    range_at: int = 0
    is_stream: bool = False
    has_time_stamp: bool = False
    cipher: bytes = b""
    state: bytes = b""


FIELDS = planner.PlannedSection.__match_args__


def stored(planned: planner.PlannedSection, state: bytes) -> Section:
    """What is kept of a planned section."""
    return Section(**{name: getattr(planned, name) for name in FIELDS}, state=state)


def states(updates: "Sequence[tuple[Buffer, ...]]") -> list[tuple[bytes, bytes]]:
    """The SHA-256 of each document, which is an original, a head and the parts of a tail; and the state behind its head."""
    return digest.sha256_many_kept(updates, 2)


@lru_cache(maxsize=16)
def section_material(material: bytes) -> section.SectionMaterial:
    """The streams of material as evidence holds it. They are made once for all documents that share it."""
    return section.SectionMaterial(*streams(material))


def written(planned: Section, tail: bytes, material: bytes, token_bytes: int) -> tuple[bytes, bytes]:
    """The section around the hexadecimal digits of its time stamp. `tail` is that of the update. Raises ItemRejected."""
    if not material:
        raise ItemRejected("the validation material is missing")
    try:
        return section.write_section(planned, tail, section_material(material), token_bytes)
    except (ValueError, OverflowError) as problem:
        raise ItemRejected(f"the section for validation material cannot be written: {problem}") from None


def section_bytes(planned: Section, tail: bytes, material: bytes, token_bytes: int) -> int:
    """The length of the section. Raises ItemRejected."""
    around = sum(map(len, written(planned, tail, material, token_bytes)))
    return around + (2 * token_bytes + 2 if planned.has_time_stamp else 0)


def stamped_digest(planned: Section, *behind: "Buffer") -> bytes:
    """The SHA-256 that a document time stamp is about. `behind` are the parts of the file that follow the update's head.

    Raises ItemRejected.
    """
    if not planned.state:
        raise ItemRejected("the document was prepared without what a document time stamp needs")
    state = Sha256State(planned.state)
    for part in behind:
        state.update(part)
    return state.digest()
