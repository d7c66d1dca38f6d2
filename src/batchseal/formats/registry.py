"""The formats of this release, and the one place that says which requests are not offered."""

from collections.abc import Sequence
from datetime import datetime

from batchseal.document import DEFAULT_TIME_STAMP_BYTES, Credential, Description, Prepared, Refusal
from batchseal.errors import PayloadUnavailable
from batchseal.formats.interface import Memory, Original, SignatureFormat, unbooked
from batchseal.formats.on_demand import OnDemand
from batchseal.formats.pades.pades import Pades, PadesFromHeader, PadesVisible
from batchseal.operation import ContentType, SignError
from batchseal.signature import Level, SignatureType


def _xades() -> SignatureFormat:
    from batchseal.formats.xades.xades import Xades

    return Xades()


def _cades() -> SignatureFormat:
    from batchseal.formats.cades.cades import Cades

    return Cades()


XML = ContentType.TEXT_XML, ContentType.APPLICATION_XML
# A new format is added here.
ALL: tuple[SignatureFormat, ...] = (
    Pades(),
    PadesVisible(),
    PadesFromHeader(),
    OnDemand("xades", frozenset((SignatureType.XADES, kind) for kind in XML), _xades),
    OnDemand("cades", frozenset((SignatureType.CADES, kind) for kind in ContentType), _cades),
)


class Formats:
    """Finds the format of a request, and of a stored record. `has_time_stamps`: a time stamp authority is configured.

    Documents that need more memory than usual take it from `memory`.
    """

    def __init__(
        self,
        formats: Sequence[SignatureFormat] | None = None,
        *,
        has_time_stamps: bool,
        memory: Memory = unbooked,
    ) -> None:
        formats = ALL if formats is None else formats
        self._by_name = {one.name: one for one in formats}
        self._by_request = {request: one for one in formats for request in one.signs}
        self._has_time_stamps = has_time_stamps
        self._memory = memory

    @property
    def has_time_stamps(self) -> bool:
        return self._has_time_stamps

    @property
    def memory(self) -> Memory:
        """What others take memory from that is for documents."""
        return self._memory

    def named(self, name: str) -> SignatureFormat:
        """The format of a stored record.

        Raises PayloadUnavailable for one that this installation does not have: a later release has written the record, and can
        read it.
        """
        found = self._by_name.get(name)
        if found is None:
            raise PayloadUnavailable(f"this installation has no signature format {name!r}")
        return found

    def refusal(self, wanted: Description) -> Refusal | None:
        """Why the caller cannot have the signature that it wants; None where it can."""
        found = self._by_request.get((wanted.signature_type, wanted.content_type))
        if found is None:
            return not_offered(self._no_format_for(wanted))
        return found.offers(wanted) or self.refusal_of_level(wanted.level)

    def refusal_of_level(self, level: Level) -> Refusal | None:
        """The same for a document that has been prepared already, since when the configuration may have changed."""
        if level > Level.B and not self._has_time_stamps:
            return not_offered("time stamps are not set up (--timestamp-urls)")
        return None

    def prepare(
        self,
        originals: Sequence[Original],
        credential: Credential,
        signing_time: datetime,
        time_stamp_bytes: int = DEFAULT_TIME_STAMP_BYTES,
    ) -> list[Prepared | Refusal]:
        """One result for each original, in order, each by its own format: see `SignatureFormat`.

        Raises CredentialUnusable, NoRoom.
        """
        results: dict[int, Prepared | Refusal] = {}
        batches: dict[str, list[int]] = {}  # positions by the name of their format
        for position, (_, wanted, _) in enumerate(originals):
            if (refusal := self.refusal(wanted)) is not None:
                results[position] = refusal
            else:
                found = self._by_request[wanted.signature_type, wanted.content_type]
                batches.setdefault(found.name, []).append(position)
        for name, positions in batches.items():
            batch = [originals[position] for position in positions]
            prepared = self._by_name[name].prepare(batch, credential, signing_time, time_stamp_bytes, self._memory)
            results.update(zip(positions, prepared, strict=True))
        return [results[position] for position in range(len(originals))]

    def _no_format_for(self, wanted: Description) -> str:
        label = wanted.signature_type.label
        signed = [content.media_type for kind, content in sorted(self._by_request) if kind is wanted.signature_type]
        if not signed:
            return f"signatures of type {label} are not offered yet"
        return f"{label} signs {', '.join(signed)}, not {wanted.content_type.media_type}"


def not_offered(cause: str) -> Refusal:
    return Refusal(SignError.CONFIGURATION_SIGN_ERROR, cause)
