from typing import ClassVar, Final, final

from typing_extensions import Buffer

ENCRYPTION_METHODS: Final[tuple[str, str, str, str]]
KEY_BYTES: Final[dict[str, tuple[int, int]]]
XREF_FORMS: Final[tuple[str, str, str]]
RESTRICTIONS: Final[tuple[tuple[int, str], ...]]

@final
class PlannedUpdate:
    """An update. The signed file is original + head + b"<" + hex + b">" + tail.

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

@final
class PlanRefusal:
    """Why a document cannot be signed: a code that never changes, and a message for a person."""

    __match_args__: ClassVar[tuple[str, ...]]
    def __init__(self, code: str, message: str) -> None: ...
    @property
    def code(self) -> str: ...
    @property
    def message(self) -> str: ...

@final
class Encryption:
    """What an encrypted document says of itself: what its file key is derived from (ISO 32000-2 7.6.4)."""

    __match_args__: ClassVar[tuple[str, ...]]
    def __init__(
        self,
        version: int,
        revision: int,
        key_bits: int,
        permissions: int,
        encrypts_metadata: bool,
        strings: str,
        streams: str,
        owner: bytes,
        user: bytes,
        owner_key: bytes,
        user_key: bytes,
        confirmed_permissions: bytes,
        file_id: bytes,
    ) -> None: ...
    @property
    def version(self) -> int: ...
    @property
    def revision(self) -> int: ...
    @property
    def key_bits(self) -> int: ...
    @property
    def permissions(self) -> int: ...
    @property
    def encrypts_metadata(self) -> bool: ...
    @property
    def strings(self) -> str: ...
    @property
    def streams(self) -> str: ...
    @property
    def owner(self) -> bytes: ...
    @property
    def user(self) -> bytes: ...
    @property
    def owner_key(self) -> bytes: ...
    @property
    def user_key(self) -> bytes: ...
    @property
    def confirmed_permissions(self) -> bytes: ...
    @property
    def file_id(self) -> bytes: ...

@final
class FileKey:
    """The key of an encrypted document, the methods of its Encryption, and 16 random bytes for this document."""

    __match_args__: ClassVar[tuple[str, ...]]
    def __init__(self, key: bytes, strings: str, streams: str, seed: bytes) -> None: ...
    @property
    def key(self) -> bytes: ...
    @property
    def strings(self) -> str: ...
    @property
    def streams(self) -> str: ...
    @property
    def seed(self) -> bytes: ...

def plan(
    original: Buffer,
    *,
    contents_bytes: int,
    reason: str | None = None,
    location: str | None = None,
    signer_name: str | None = None,
    signing_time: str,
    file_key: FileKey | None = None,
    max_file_bytes: int = ...,
    max_inflated_bytes: int = ...,
    max_memory_bytes: int = ...,
    max_objects: int = ...,
    max_depth: int = ...,
    max_xref_sections: int = ...,
) -> PlannedUpdate | PlanRefusal | Encryption:
    """Plans the update that adds an invisible PAdES signature to `original`, or tells why there can be none.

    Without `file_key` the answer for an encrypted document is its Encryption.
    """

def update_bound(original_bytes: int) -> int:
    """Returns how many bytes an update of an original of this size takes at most, without the caller's texts."""

def memory_bound(original_bytes: int) -> int:
    """Returns how many bytes of memory the plan of an original of this size takes at most."""

def refusal_codes() -> dict[str, str]:
    """Returns every code that a PlanRefusal can have, with its message."""

def inflate(data: Buffer, limit: int) -> bytes:
    """Decodes zlib data with the planner's own decoder, for tests. Raises MemoryError beyond `limit` bytes."""
