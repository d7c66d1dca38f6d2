from typing import ClassVar, Final, final

from typing_extensions import Buffer

XREF_FORMS: Final[tuple[str, str, str]]
RESTRICTIONS: Final[tuple[tuple[int, str], ...]]

@final
class PlannedSection:
    """The section behind an update, as far as it is known before its material. It can be kept."""

    __match_args__: ClassVar[tuple[str, ...]]
    def __init__(
        self,
        objects: bytes,
        rows: bytes,
        certificates: bytes,
        ocsp_responses: bytes,
        crls: bytes,
        others: bytes,
        dss: int,
        dss_generation: int,
        next_number: int,
        start: int,
        previous: int,
        trailer: int,
        range_at: int,
        is_stream: bool,
        has_time_stamp: bool,
    ) -> None: ...
    @property
    def objects(self) -> bytes: ...
    @property
    def rows(self) -> bytes: ...
    @property
    def certificates(self) -> bytes: ...
    @property
    def ocsp_responses(self) -> bytes: ...
    @property
    def crls(self) -> bytes: ...
    @property
    def others(self) -> bytes: ...
    @property
    def dss(self) -> int: ...
    @property
    def dss_generation(self) -> int: ...
    @property
    def next_number(self) -> int: ...
    @property
    def start(self) -> int: ...
    @property
    def previous(self) -> int: ...
    @property
    def trailer(self) -> int: ...
    @property
    def range_at(self) -> int: ...
    @property
    def is_stream(self) -> bool: ...
    @property
    def has_time_stamp(self) -> bool: ...

@final
class PlannedUpdate:
    """An update. The signed file is original + head + b"<" + hex + b">" + tail, and the section behind it.

    `reserved_bytes` is the length of b"<" + hex + b">".
    """

    __match_args__: ClassVar[tuple[str, ...]]
    def __init__(
        self,
        head: bytes,
        reserved_bytes: int,
        tail: bytes,
        byte_range: tuple[int, int, int, int],
        field_name: str,
        xref_form: str,
        rebuilt: bool,
        section: PlannedSection | None = ...,
    ) -> None: ...
    @property
    def head(self) -> bytes: ...
    @property
    def reserved_bytes(self) -> int: ...
    @property
    def tail(self) -> bytes: ...
    @property
    def byte_range(self) -> tuple[int, int, int, int]: ...
    @property
    def field_name(self) -> str: ...
    @property
    def xref_form(self) -> str: ...
    @property
    def rebuilt(self) -> bool: ...
    @property
    def section(self) -> PlannedSection | None: ...

@final
class PlanRefusal:
    """Why a document cannot be signed: a code that never changes, and a message for a person."""

    __match_args__: ClassVar[tuple[str, ...]]
    def __init__(self, code: str, message: str) -> None: ...
    @property
    def code(self) -> str: ...
    @property
    def message(self) -> str: ...

def plan(
    original: Buffer,
    *,
    contents_bytes: int,
    reason: str | None = None,
    location: str | None = None,
    signer_name: str | None = None,
    signing_time: str,
    section: bool = ...,
    time_stamp: bool = ...,
    max_file_bytes: int = ...,
    max_inflated_bytes: int = ...,
    max_memory_bytes: int = ...,
    max_objects: int = ...,
    max_depth: int = ...,
    max_xref_sections: int = ...,
) -> PlannedUpdate | PlanRefusal:
    """Plans the update that adds an invisible PAdES signature to `original`, or tells why there can be none."""

def update_bound(original_bytes: int) -> int:
    """Returns how many bytes an update and what is planned behind it take at most, without the caller's texts."""

def memory_bound(original_bytes: int) -> int:
    """Returns how many bytes of memory the plan of an original of this size takes at most."""

def refusal_codes() -> dict[str, str]:
    """Returns every code that a PlanRefusal can have, with its message."""

def inflate(data: Buffer, limit: int) -> bytes:
    """Decodes zlib data with the planner's own decoder, for tests. Raises MemoryError beyond `limit` bytes."""
