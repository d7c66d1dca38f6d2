"""Finds in a XAdES signature what its levels rest on: time stamps and validation material (EN 319 132-1 5.3 to 5.5).

What each time stamp is about is recomputed. `levels` says what that means.
"""

import hashlib
from base64 import b64decode
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from batchseal.client.judges.levels import Holdings
from batchseal.client.judges.references import DS, INCLUSIVE, XADES, canonical
from batchseal.client.judges.tokens import NOT_ABOUT_THIS, Token, read_token

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

XADES_141 = "{http://uri.etsi.org/01903/v1.4.1#}"
QUALIFYING = f"{XADES}QualifyingProperties"
SIGNATURE_TIME_STAMP, ARCHIVE_TIME_STAMP = f"{XADES}SignatureTimeStamp", f"{XADES_141}ArchiveTimeStamp"
# The levels that these properties are for, and what they are called in sentences.
KINDS = {SIGNATURE_TIME_STAMP: ("T", "time stamp"), ARCHIVE_TIME_STAMP: ("LTA", "archive time stamp")}
PATH = f"{DS}Object/{QUALIFYING}/{XADES}UnsignedProperties/{XADES}UnsignedSignatureProperties"


class UnsignedProperties:
    """The unsigned properties of a signature.

    `referenced` gives what its references are about, with the canonical form of those that name none.
    """

    def __init__(self, signature: "Element", referenced: Callable[[str], bytes]) -> None:
        self._signature, self._referenced = signature, referenced

    def read(self, certificates: Sequence[bytes]) -> Holdings:
        """What the signature holds; what of it cannot be read is broken. `certificates` (DER) are those of its KeyInfo."""
        held = Holdings(certificates=list(certificates))
        properties = self._signature.findall(PATH)
        if len(properties) > 1:
            held.found["T"].broken.append("unsigned properties stand in several places")
        before: list[Element] = []
        for one in properties[0].iterchildren("*") if len(properties) == 1 else ():
            try:
                self._read_one(one, before, held)
            except (LookupError, TypeError, ValueError, AttributeError) as problem:
                level, name = KINDS.get(one.tag, ("LT", _local_name(one)))
                held.found[level].broken.append(f"the {name} is broken: {problem}")
            before.append(one)
        return held

    def _read_one(self, one: "Element", before: "list[Element]", held: Holdings) -> None:
        """Reads a property that stands behind the properties `before`."""
        if one.tag == SIGNATURE_TIME_STAMP:
            value = self._signature.find(f"{DS}SignatureValue")
            held.stamps += self._tokens(one, held, lambda form: canonical(value, form))
        elif one.tag == ARCHIVE_TIME_STAMP:
            archived = held.copy()
            if found := self._tokens(one, held, lambda form: self._archived(before, form)):
                held.archives += found
                held.archived = archived
        elif one.tag in (f"{XADES}CertificateValues", f"{XADES}RevocationValues"):
            _take(one, held)
        elif one.tag == f"{XADES_141}TimeStampValidationData":
            for part in one.iterchildren("*"):
                _take(part, held)
        elif one.tag == f"{XADES}ArchiveTimeStamp":
            held.found["LTA"].lacking.append("the archive time stamp is of an old form, which is not judged")

    def _tokens(self, stamp: "Element", held: Holdings, stamped: Callable[[str], bytes]) -> list[Token]:
        """The tokens of a property; none where it has parts that are not judged. Raises ValueError where one is not right.

        `stamped` gives what they have to be about, in a canonical form.
        """
        form, tokens = INCLUSIVE, list[Token]()
        for part in stamp.iterchildren("*"):
            if part.tag == f"{DS}CanonicalizationMethod":
                form = part.get("Algorithm")
            elif part.tag == f"{XADES}EncapsulatedTimeStamp":
                tokens.append(read_token(b64decode(part.text)))
            else:
                level, kind = KINDS[stamp.tag]
                held.found[level].lacking.append(f"the {kind} has the part {_local_name(part)}, which is not judged")
                return []
        octets = stamped(form)
        if not tokens or not all(one.is_about(lambda name: hashlib.new(name, octets).digest()) for one in tokens):
            raise ValueError(NOT_ABOUT_THIS)
        return tokens

    def _archived(self, before: "Sequence[Element]", form: str) -> bytes:
        """What an archive time stamp behind these properties is about (EN 319 132-1 5.5.2.2)."""
        parts = [self._referenced(form)]
        for name in ("SignedInfo", "SignatureValue", "KeyInfo"):
            parts.extend(canonical(one, form) for one in self._signature.findall(f"{DS}{name}"))
        parts.extend(canonical(one, form) for one in before)
        references = self._signature.findall(f"{DS}SignedInfo/{DS}Reference")
        referenced = {reference.get("URI", "").removeprefix("#") for reference in references}
        for one in self._signature.findall(f"{DS}Object"):
            if one.find(QUALIFYING) is None and one.get("Id", "") not in referenced - {""}:
                parts.append(canonical(one, form))
        return b"".join(parts)


def _take(values: "Element", held: Holdings) -> None:
    """Adds the material in CertificateValues or RevocationValues."""
    held.claims_material = True
    for place, path in (
        (held.certificates, "EncapsulatedX509Certificate"),
        (held.responses, f"OCSPValues/{XADES}EncapsulatedOCSPValue"),
        (held.lists, f"CRLValues/{XADES}EncapsulatedCRLValue"),
    ):
        place.extend(b64decode(one.text) for one in values.iterfind(f"{XADES}{path}"))


def _local_name(element: "Element") -> str:
    return str(element.tag).rpartition("}")[2]
