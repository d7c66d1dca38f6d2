from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, final

from typing_extensions import Buffer

from batchseal._native.canonical_limits import CanonicalLimits as CanonicalLimits

TOLD_IDS: Final[int]

def use_kernels(name: str | None = None) -> str: ...
def give_back_memory() -> None: ...
def kernels() -> list[tuple[str, str, bool, bool]]: ...

@final
class CanonicalTask:
    __match_args__: ClassVar[tuple[str, ...]]
    def __init__(
        self,
        content: Buffer,
        steps: Sequence[tuple[str | None, str, int | None]] = (),
        anywhere: bool = False,
        with_comments: bool = False,
        without_signatures: bool = False,
        transcoded: bool = False,
        digest_algorithm: str | None = "sha256",
        inclusive_prefixes: Sequence[str] = (),
        omitted: Sequence[int] = (),
        apex: int | None = None,
        keep_state: bool = False,
        id_part: str | None = None,
        brief: bool = False,
    ) -> None: ...
    @property
    def content(self) -> Buffer: ...
    @property
    def steps(self) -> Sequence[tuple[str | None, str, int | None]]: ...
    @property
    def anywhere(self) -> bool: ...
    @property
    def with_comments(self) -> bool: ...
    @property
    def without_signatures(self) -> bool: ...
    @property
    def transcoded(self) -> bool: ...
    @property
    def digest_algorithm(self) -> str | None: ...
    @property
    def inclusive_prefixes(self) -> Sequence[str]: ...
    @property
    def omitted(self) -> Sequence[int]: ...
    @property
    def apex(self) -> int | None: ...
    @property
    def keep_state(self) -> bool: ...
    @property
    def id_part(self) -> str | None: ...
    @property
    def brief(self) -> bool: ...

@final
class CanonicalForm:
    __match_args__: ClassVar[tuple[str, ...]]
    def __init__(
        self,
        digest: bytes,
        canonical_bytes: int,
        nodes: int,
        further_nodes: int,
        root: str,
        match_count: int,
        match_in_signature: bool,
        paths: tuple[str, ...],
        place: int,
        self_closed: bool,
        parent: str,
        prefixes: dict[str, str],
        ids: frozenset[str],
        enclosing_ids: frozenset[str],
        signatures: tuple[tuple[int, int], ...],
        signature_count: int,
        state: bytes = b"",
    ) -> None: ...
    @property
    def digest(self) -> bytes: ...
    @property
    def canonical_bytes(self) -> int: ...
    @property
    def nodes(self) -> int: ...
    @property
    def further_nodes(self) -> int: ...
    @property
    def root(self) -> str: ...
    @property
    def match_count(self) -> int: ...
    @property
    def match_in_signature(self) -> bool: ...
    @property
    def paths(self) -> tuple[str, ...]: ...
    @property
    def place(self) -> int: ...
    @property
    def self_closed(self) -> bool: ...
    @property
    def parent(self) -> str: ...
    @property
    def prefixes(self) -> dict[str, str]: ...
    @property
    def ids(self) -> frozenset[str]: ...
    @property
    def enclosing_ids(self) -> frozenset[str]: ...
    @property
    def signatures(self) -> tuple[tuple[int, int], ...]: ...
    @property
    def signature_count(self) -> int: ...
    @property
    def state(self) -> bytes: ...

@dataclass(frozen=True)
class CanonicalRefusal:
    code: str
    message: str
    offset: int
    line: int
    column: int

def digest_many(
    tasks: Sequence[CanonicalTask], limits: CanonicalLimits | None = None
) -> list[CanonicalForm | CanonicalRefusal]: ...
def canonical_form(task: CanonicalTask, limits: CanonicalLimits | None = None) -> bytes | CanonicalRefusal: ...
def refusal_codes() -> dict[str, list[str]]: ...
