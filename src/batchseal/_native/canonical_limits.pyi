from dataclasses import dataclass
from typing import Final

NAMES: Final[dict[str, str]]
IN_BYTES: Final[frozenset[str]]

@dataclass(frozen=True)
class CanonicalLimits:
    depth: int = 256
    attributes: int = 1_000
    namespaces: int = 1_000
    nodes: int = 500_000
    further_nodes: int = 1_500_000
    attribute_namespaces: int = 1_000
    tag_bytes: int = ...
    output_bytes: int = ...
    output_factor: int = 16
    memory_bytes: int = ...

def shown_limit(limits: CanonicalLimits, code: str) -> str: ...
