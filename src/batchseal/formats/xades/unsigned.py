"""Writes the unsigned properties of a XAdES signature: time stamps, validation material (ETSI EN 319 132-1 5.3 to 5.5).

Like the rest of a signature, each property is written as its own canonical form, but for the declarations that exclusive
canonicalization repeats at its top (`ds` and `xades` below). In the document they are inherited.
"""

from base64 import b64encode
from functools import lru_cache

from batchseal.document import Evidence
from batchseal.formats.material import decoded
from batchseal.formats.xades import names

XMLNS_DS = f' xmlns:ds="{names.DS}"'
XMLNS_XADES = f' xmlns:xades="{names.XADES}"'
# The older namespace has an ArchiveTimeStamp too, whose input was ambiguous. The newer one is declared where it is used.
XMLNS_XADES_141 = f' xmlns:xades141="{names.XADES_141}"'

OPEN = "<xades:UnsignedProperties><xades:UnsignedSignatureProperties>"
CLOSE = "</xades:UnsignedSignatureProperties></xades:UnsignedProperties>"


def _canonicalization(ds: str) -> str:
    return f'<ds:CanonicalizationMethod{ds} Algorithm="{names.EXCLUSIVE}"></ds:CanonicalizationMethod>'


def signature_time_stamp(token: bytes, stamp_id: str, *, canonical: bool = False) -> str:
    ds, xades = (XMLNS_DS, XMLNS_XADES) if canonical else ("", "")
    return (
        f'<xades:SignatureTimeStamp{xades} Id="{stamp_id}">{_canonicalization(ds)}'
        f"<xades:EncapsulatedTimeStamp>{_base64(token)}</xades:EncapsulatedTimeStamp></xades:SignatureTimeStamp>"
    )


def archive_time_stamp(token: bytes, stamp_id: str) -> str:
    return (
        f'<xades141:ArchiveTimeStamp{XMLNS_XADES_141} Id="{stamp_id}">{_canonicalization("")}'
        f"<xades:EncapsulatedTimeStamp>{_base64(token)}</xades:EncapsulatedTimeStamp></xades141:ArchiveTimeStamp>"
    )


@lru_cache(maxsize=16)
def values(material: bytes, *, canonical: bool = False) -> str:
    """CertificateValues and RevocationValues, in the order of their schema. An empty one is left out."""
    found, xades = decoded(material), XMLNS_XADES if canonical else ""
    certificates = _each("EncapsulatedX509Certificate", found.certificates)
    crls, responses = _each("EncapsulatedCRLValue", found.crls), _each("EncapsulatedOCSPValue", found.ocsp_responses)
    parts = []
    if certificates:
        parts.append(f"<xades:CertificateValues{xades}>{certificates}</xades:CertificateValues>")
    if crls or responses:
        parts.append(f"<xades:RevocationValues{xades}>")
        parts.append(f"<xades:CRLValues>{crls}</xades:CRLValues>" if crls else "")
        parts.append(f"<xades:OCSPValues>{responses}</xades:OCSPValues>" if responses else "")
        parts.append("</xades:RevocationValues>")
    return "".join(parts)


def properties(evidence: Evidence, ids: tuple[str, ...], *, canonical: bool = False) -> str:
    """What the evidence holds before its archive time stamps. `canonical`: each as the canonical form of an element."""
    parts = []
    if evidence.time_stamps:
        parts.append(signature_time_stamp(evidence.time_stamps[0], ids[4], canonical=canonical))
    if evidence.material:
        parts.append(values(evidence.material, canonical=canonical))
    return "".join(parts)


def unsigned_properties(evidence: Evidence, ids: tuple[str, ...]) -> str:
    """The element UnsignedProperties; nothing where the evidence has only a signature."""
    inside = properties(evidence, ids)
    if evidence.archive_time_stamps:
        inside += archive_time_stamp(evidence.archive_time_stamps[0], ids[5])
    return f"{OPEN}{inside}{CLOSE}" if inside else ""


def _each(name: str, values: tuple[bytes, ...]) -> str:
    return "".join(f"<xades:{name}>{_base64(value)}</xades:{name}>" for value in values)


def _base64(data: bytes) -> str:
    return b64encode(data).decode("ascii")
