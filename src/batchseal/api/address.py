"""Reads a request's raw path: finds the external reference in it and makes the rest canonical for the router.

An external reference may hold slashes, spaces and colons, percent-encoded. A path router decodes `%2F`, or turns `//` into
`/`, before it matches; it would change the reference. Therefore this module takes the reference out of the raw bytes of the
path first. It then makes the rest of the path canonical: one slash between two elements, no slash at the end, and the
first base path in place of its alias.
"""

import re
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote_to_bytes

from batchseal.api.contract import REFERENCE, Contract
from batchseal.errors import InvalidRequest

SLASHES = re.compile(rb"/{2,}")


@dataclass(frozen=True, slots=True)
class Address:
    """A request path that has been read.

    `path` is canonical and goes to the router. `base` is the base path that the caller used, so that addresses in the
    reply can begin with it. `reference` is the decoded external reference, or None where the path has none.
    """

    path: bytes
    base: str
    reference: str | None = None


class Addresses:
    """Reads the paths of one contract. It compiles one pattern for each route that takes an external reference."""

    def __init__(self, contract: Contract) -> None:
        self.contract = contract
        self.base = contract.bases[0].encode()
        self.aliases = [base.encode() for base in contract.bases]
        self.with_reference = [
            (self.pattern(route.template), self.base + (contract.version + route.routed).encode())
            for route in contract.routes.values()
            if route.takes_reference
        ]

    def pattern(self, template: str) -> re.Pattern[bytes]:
        """A pattern for the raw paths of `template`, under each of the bases.

        Slashes may be repeated everywhere except inside the reference.
        """

        def loose(path: str) -> str:
            return re.escape(path).replace("/", "/+")

        before, _, after = template.partition("/" + REFERENCE)
        bases = "|".join(loose(base) for base in self.contract.bases)
        # Exactly one slash stands before the reference, because a reference may itself begin with a slash.
        text = f"(?P<base>{bases}){loose(self.contract.version + before)}(?:/(?P<reference>.*?))?"
        return re.compile((text + loose(after) + ("/*" if after else "")).encode(), re.DOTALL)

    def resolve(self, raw_path: bytes, query: bytes) -> Address:
        """Reads `raw_path` (as it was sent, still percent-encoded) and `query`.

        Raises InvalidRequest if the external reference is not UTF-8.
        """
        for pattern, path in self.with_reference:
            if match := pattern.fullmatch(raw_path):
                base = SLASHES.sub(b"/", match["base"]).decode()
                return Address(path, base, self.reference(match["reference"] or b"", query))
        path = SLASHES.sub(b"/", raw_path).rstrip(b"/") or b"/"
        for alias in self.aliases:
            if path == alias or path.startswith(alias + b"/"):
                return Address(self.base + path[len(alias) :], alias.decode())
        return Address(path, self.contract.bases[0])

    def reference(self, raw: bytes, query: bytes) -> str | None:
        """The decoded external reference: from the path if it is there, else from the query, else None."""
        try:
            # Slashes alone are no reference. The caller then gives it in the query.
            if raw.strip(b"/"):
                return unquote_to_bytes(raw).decode()
            values = parse_qs(query.decode("ascii", "surrogateescape"), keep_blank_values=True, errors="strict")
            return next(iter(values.get(self.contract.reference_query, [])), None)
        except ValueError:
            raise InvalidRequest("externalReference is not UTF-8") from None
