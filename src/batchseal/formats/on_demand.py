"""`OnDemand`: a format that is loaded with its first document.

A process that never sees such a document does without its code: the format for XML takes 0.8 MB of each worker and of the signer.
"""

from collections.abc import Callable
from functools import cached_property
from typing import Any

from batchseal.formats.interface import SignatureFormat
from batchseal.operation import ContentType
from batchseal.signature import SignatureType


class OnDemand:
    """Stands for the `SignatureFormat` that `load` returns, which has the same `name` and `signs`. The rest is that one's."""

    def __init__(
        self, name: str, signs: frozenset[tuple[SignatureType, ContentType]], load: Callable[[], SignatureFormat]
    ) -> None:
        self.name = name
        self.signs = signs
        self._load = load

    @cached_property
    def _format(self) -> SignatureFormat:
        return self._load()

    def __getattr__(self, member: str) -> Any:
        return getattr(self._format, member)
