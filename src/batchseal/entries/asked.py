"""What is asked of the signature of a file: the configuration of its client service, read as a request would be."""

from typing import Any

import msgspec

from batchseal.document import Description
from batchseal.entries.naming import shown
from batchseal.errors import ApiError, ConfigurationError
from batchseal.intake.schema import DocumentEntry, DocumentRequest, Limits, SignatureInfo, describe
from batchseal.operation import ContentType
from batchseal.settings.hot_folders import Asked, HotFolder
from batchseal.signature import SignatureDefaults, SignatureType
from batchseal.visible.parsing import VisibleReader

SIGNATURE_TYPES = {
    ContentType.PDF: SignatureType.PADES,
    ContentType.TEXT_XML: SignatureType.XADES,
    ContentType.APPLICATION_XML: SignatureType.XADES,
    ContentType.OTHER: SignatureType.CADES,
}


class Asking:
    """For the files of one folder. `defaults` are those of its client service, `largest_bytes` the largest file that is taken."""

    def __init__(self, hot: HotFolder, defaults: SignatureDefaults, limits: Limits, largest_bytes: int) -> None:
        self._largest_bytes = largest_bytes
        self._hot = hot
        self._defaults = defaults
        self._limits = limits
        self._visible = VisibleReader(defaults.visible)

    def check(self) -> None:
        """Raises ConfigurationError if a file could not be signed as the configuration asks."""
        for number, asked in enumerate((self._hot.otherwise, *self._hot.patterns)):
            place = f"hotFolder.patterns[{number - 1}]" if number else "hotFolder"
            for type_ in (ContentType.PDF, ContentType.APPLICATION_XML):
                try:
                    self._described(asked, "name", type_, place)
                except ApiError as problem:
                    raise ConfigurationError(problem.cause) from None

    def refusal(self, path: str, type_: ContentType, size: int) -> str:
        """Why a file is not even handed in; empty if it is."""
        if size > self._largest_bytes:
            return f"the file has {size} bytes, the limit is {self._largest_bytes}"
        if type_ is not ContentType.OTHER:
            return ""
        asked = self._hot.asked_of(path)
        if not asked.other_types:
            return "the file is neither PDF nor XML, and others are not signed in this folder (otherTypes)"
        wanted = asked.info.get("signatureType", SignatureType.CADES.label)
        if wanted != SignatureType.CADES.label:
            return f"the file is neither PDF nor XML, and {wanted} is asked for"
        return ""

    def description(self, path: str, type_: ContentType) -> Description:
        """For a file that is handed in. Raises ApiError."""
        return self._described(self._hot.asked_of(path), path, type_, "hotFolder")

    def _described(self, asked: Asked, path: str, type_: ContentType, place: str) -> Description:
        info: dict[str, Any] = {"signatureType": SIGNATURE_TYPES[type_].label, **asked.info}
        entry = DocumentEntry(
            document_request=DocumentRequest(
                external_reference=shown(path, self._limits.max_reference_characters),
                name=shown(path.rpartition("/")[2], self._limits.max_name_characters),
                content_type=type_.media_type,
            ),
            signature_info=msgspec.convert(info, SignatureInfo),
        )
        return describe(entry, place, self._limits, type_, self._defaults, self._visible)
