from typing import ClassVar, Final, final

ENCRYPTION_METHODS: Final[tuple[str, str, str, str]]
KEY_BYTES: Final[dict[str, tuple[int, int]]]
RESTRICTIONS: Final[tuple[tuple[int, str], ...]]

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
