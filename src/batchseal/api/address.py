"""What a request's raw path means: canonical path, base and external reference.

External references hold slashes, spaces and colons, percent-encoded. A path router decodes `%2F` or collapses
`//` before it matches, and the reference is lost: so it is taken out here, from the bytes as they came, and
the rest is made canonical (one slash between elements, none at the end, the first base in place of its
alias).
"""

import re
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote_to_bytes

from batchseal.api.contract import REFERENCE, Contract
from batchseal.errors import InvalidRequest

SLASHES = re.compile(rb"/{2,}")


@dataclass(frozen=True, slots=True)
class Address:
    """`path` goes to the router; `base` is the one that the caller used; `reference` is decoded."""

    path: bytes
    base: str
    reference: str | None = None


class Addresses:
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
        """Matches a raw path of this template under any base, with repeated slashes anywhere but inside the
        reference.
        """

        def loose(path: str) -> str:
            return re.escape(path).replace("/", "/+")

        before, _, after = template.partition("/" + REFERENCE)
        bases = "|".join(loose(base) for base in self.contract.bases)
        # Exactly one slash separates the reference, so that a reference may begin with one.
        text = f"(?P<base>{bases}){loose(self.contract.version + before)}(?:/(?P<reference>.*?))?"
        return re.compile((text + loose(after) + ("/*" if after else "")).encode(), re.DOTALL)

    def resolve(self, raw_path: bytes, query: bytes) -> Address:
        """Raises InvalidRequest where an external reference is not UTF-8."""
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
        try:
            # A lone slash is the end of an address whose reference stands in the query.
            if raw.strip(b"/"):
                return unquote_to_bytes(raw).decode()
            values = parse_qs(query.decode("ascii", "surrogateescape"), keep_blank_values=True, errors="strict")
            return next(iter(values.get(self.contract.reference_query, [])), None)
        except ValueError:
            raise InvalidRequest("externalReference is not UTF-8") from None
