from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from typing_extensions import Buffer

LIMIT_NAMES: Final[dict[str, str]]
BYTE_LIMITS: Final[frozenset[str]]

def use_kernels(name: str | None = None) -> str: ...
def kernels() -> list[tuple[str, str, bool, bool]]: ...

@dataclass(frozen=True)
class CanonicalLimits:
    depth: int = 256
    attributes: int = 1_000
    namespaces: int = 1_000
    nodes: int = 500_000
    tag_bytes: int = ...
    output_bytes: int = ...

@dataclass(frozen=True)
class CanonicalTask:
    content: Buffer
    steps: Sequence[tuple[str | None, str, int | None]] = ()
    anywhere: bool = False
    with_comments: bool = False
    without_signatures: bool = False
    transcoded: bool = False
    digest_algorithm: str | None = "sha256"
    inclusive_prefixes: Sequence[str] = ()
    omitted: Sequence[int] = ()
    apex: int | None = None

@dataclass(frozen=True)
class CanonicalForm:
    digest: bytes
    canonical_bytes: int
    root: str
    match_count: int
    match_in_signature: bool
    paths: tuple[str, ...]
    place: int
    self_closed: bool
    parent: str
    prefixes: dict[str, str]
    ids: frozenset[str]
    enclosing_ids: frozenset[str]
    signatures: tuple[tuple[int, int], ...]

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
