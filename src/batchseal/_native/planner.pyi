from collections.abc import Iterable
from typing import ClassVar, Final, final, overload

from typing_extensions import Buffer

from batchseal._native.pdf_encryption import Encryption, FileKey

RULE_CALIBRATED: Final[int]
RULE_OPAQUE: Final[int]
RULE_CID_SET: Final[int]
OBJECT_MARK: Final[bytes]
TEXT_MARK: Final[bytes]
XREF_FORMS: Final[tuple[str, str, str]]

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
        cipher: bytes = ...,
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
    @property
    def cipher(self) -> bytes: ...

@final
class PlannedUpdate:
    """An update. The signed file is original + head + b"<" + hex + b">" + tail, and the section behind it.

    `reserved_bytes` is the length of b"<" + hex + b">". The first `skipped_bytes` of the original are left out.
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
        inserted: tuple[int, ...] = ...,
        seed_values: bytes = ...,
        section: PlannedSection | None = ...,
        skipped_bytes: int = ...,
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
    @property
    def inserted(self) -> tuple[int, ...]:
        """Where the shared streams of the appearance belong, as offsets in the tail."""
    @property
    def seed_values(self) -> bytes: ...
    @property
    def skipped_bytes(self) -> int: ...

@final
class Appearance:
    """The objects of a visible signature's appearance: entries, data of a stream or None, whether the data is shared."""

    def __init__(
        self, objects: Iterable[tuple[bytes, bytes | None, bool]], *, rules: int, width: float, height: float
    ) -> None: ...
    @property
    def objects(self) -> tuple[tuple[bytes, bytes | None, bool], ...]: ...
    @property
    def shared(self) -> tuple[bytes, ...]:
        """The streams that are shared, in order."""
    @property
    def rules(self) -> int: ...
    @property
    def width(self) -> float: ...
    @property
    def height(self) -> float: ...

@final
class OtherRules:
    """The document demands an appearance that keeps these rules."""

    __match_args__: ClassVar[tuple[str, ...]]
    def __init__(self, rules: int) -> None: ...
    @property
    def rules(self) -> int: ...

@final
class OtherArea:
    """The field demands an appearance with these sides, in points."""

    __match_args__: ClassVar[tuple[str, ...]]
    def __init__(self, width: float, height: float) -> None: ...
    @property
    def width(self) -> float: ...
    @property
    def height(self) -> float: ...

@final
class PlanRefusal:
    """Why a document cannot be signed: a code that never changes, and a message for a person."""

    __match_args__: ClassVar[tuple[str, ...]]
    def __init__(self, code: str, message: str) -> None: ...
    @property
    def code(self) -> str: ...
    @property
    def message(self) -> str: ...

@overload
def plan(
    original: Buffer,
    *,
    contents_bytes: int,
    reason: str | None = None,
    location: str | None = None,
    signer_name: str | None = None,
    signing_time: str,
    file_key: FileKey | None = None,
    section: bool = ...,
    time_stamp: bool = ...,
    field: str | None = None,
    digest_algorithm: str = "sha256",
    appearance: None = None,
    page: int = 1,
    x: float = 0,
    y: float = 0,
    is_upper_left: bool = False,
    yields: bool = False,
    max_file_bytes: int = ...,
    max_inflated_bytes: int = ...,
    max_memory_bytes: int = ...,
    max_objects: int = ...,
    max_depth: int = ...,
    max_xref_sections: int = ...,
) -> PlannedUpdate | PlanRefusal | Encryption:
    """Plans the update that adds a PAdES signature to `original`, or tells why there can be none.

    Without `file_key` the answer for an encrypted document is its Encryption.
    """

@overload
def plan(
    original: Buffer,
    *,
    contents_bytes: int,
    reason: str | None = None,
    location: str | None = None,
    signer_name: str | None = None,
    signing_time: str,
    file_key: FileKey | None = None,
    section: bool = ...,
    time_stamp: bool = ...,
    field: str | None = None,
    digest_algorithm: str = "sha256",
    appearance: Appearance,
    page: int = 1,
    x: float = 0,
    y: float = 0,
    is_upper_left: bool = False,
    yields: bool = False,
    max_file_bytes: int = ...,
    max_inflated_bytes: int = ...,
    max_memory_bytes: int = ...,
    max_objects: int = ...,
    max_depth: int = ...,
    max_xref_sections: int = ...,
) -> PlannedUpdate | OtherRules | OtherArea | PlanRefusal | Encryption:
    """Plans the update for a visible signature.

    OtherRules, OtherArea: the appearance must be of another kind, or of another size.
    """

def update_bound(original_bytes: int) -> int:
    """Returns how many bytes an update and what is planned behind it take at most, without the caller's texts."""

def memory_bound(original_bytes: int) -> int:
    """Returns how many bytes of memory the plan of an original of this size takes at most."""

def refusal_codes() -> dict[str, str]:
    """Returns every code that a PlanRefusal can have, with its message."""
