"""Writes XAdES signatures (ETSI EN 319 132-1) as text, from a template per credential and style.

There is no XML serialiser: what is written here is its own canonical form, but for namespace declarations, which exclusive
canonicalization repeats at the top of each part that is digested. So nothing here has white space between elements, empty
elements have two tags, and text is escaped as canonical XML escapes it.
"""

import hashlib
from binascii import b2a_base64
from dataclasses import dataclass
from functools import lru_cache

from asn1crypto import x509

from batchseal.algorithms import DIGEST_BYTES
from batchseal.document import Credential
from batchseal.errors import CredentialUnusable, ItemRejected
from batchseal.formats.xades import names
from batchseal.signature import SignaturePolicy

XMLNS_DS = f' xmlns:ds="{names.DS}"'
XMLNS_XADES = f' xmlns:xades="{names.XADES}"'

TRANSFORMS = {
    "ENVELOPED": f'<ds:Transform Algorithm="{names.ENVELOPED}"></ds:Transform>',
    "XPATH": f'<ds:Transform Algorithm="{names.XPATH}"><ds:XPath>{names.XPATH_EXPRESSION}</ds:XPath></ds:Transform>',
    "XPATH2_FILTER": (
        f'<ds:Transform Algorithm="{names.XPATH2_FILTER}"><dsig-xpath:XPath xmlns:dsig-xpath="{names.XPATH2_FILTER}"'
        f' Filter="subtract">{names.XPATH2_FILTER_EXPRESSION}</dsig-xpath:XPath></ds:Transform>'
    ),
}
CANONICAL_TRANSFORMS = {"EXCLUSIVE": names.EXCLUSIVE, "EXCLUSIVE_WITH_COMMENTS": names.EXCLUSIVE_WITH_COMMENTS}


@dataclass(frozen=True, slots=True)
class Style:
    """What the signatures of one template have in common. It is stored with what was prepared, so fields are only added.

    `signing_time` is in UTC and ends in Z. `suffix` makes the ids of a signature unique in its document. `uri` is that of the
    reference to the document, `mime_type` the type of the document.
    """

    signing_time: str
    suffix: str
    transform: str
    canonical: str
    uri: str
    mime_type: str
    city: str = ""
    policy: SignaturePolicy | None = None
    role: str = ""

    @property
    def ids(self) -> tuple[str, ...]:
        """Every id that the signature brings."""
        kinds = ("signature", "reference", "value", "properties", "time-stamp", "archive-time-stamp")
        return tuple(f"{kind}-{self.suffix}" for kind in kinds)


class CredentialParts:
    """What of a signature depends on the credential alone. Raises CredentialUnusable."""

    def __init__(self, credential: Credential) -> None:
        self.digest_algorithm = credential.digest_algorithm
        self.is_ecdsa = credential.key_type == "ec"
        try:
            leaf = x509.Certificate.load(credential.chain[0])
            self.value_bytes = -(-leaf.public_key.bit_size // 8) * (2 if self.is_ecdsa else 1)
            self.method = names.signature_method(credential.key_type, credential.scheme, credential.digest_algorithm)
            self.digest_method = names.DIGESTS[credential.digest_algorithm]
        except (ValueError, LookupError, TypeError) as problem:
            raise CredentialUnusable(f"credential {credential.credential_id}: {problem}") from None
        self.certificate_digest = hashlib.new(self.digest_algorithm, credential.chain[0]).digest()
        certificates = "".join(f"<ds:X509Certificate>{_base64(der)}</ds:X509Certificate>" for der in credential.chain)
        self.key_info = f"<ds:X509Data>{certificates}</ds:X509Data></ds:KeyInfo>"


class XadesTemplate:
    """Writes the signatures of one credential in one style. Immutable; safe in threads.

    A style may be that of one document, since a location is part of it. So making a template is cheap: it parses nothing, unless
    the credential is a new one.
    """

    @classmethod
    def cached(cls, credential: Credential, style: Style) -> "XadesTemplate":
        """A template for these arguments."""
        return _template(credential, style)

    def __init__(self, credential: Credential, style: Style) -> None:
        self.style = style
        self._parts = parts = _parts(credential)
        self._digest_algorithm = parts.digest_algorithm
        self.is_ecdsa, self.value_bytes = parts.is_ecdsa, parts.value_bytes
        signature_id, reference_id, value_id, properties_id, *_ = style.ids
        properties = self._signed_properties(properties_id, reference_id, xades=XMLNS_XADES, ds=XMLNS_DS)
        before_digest, after_digest = self._signed_info(self._digest_text(properties), reference_id, properties_id)
        # The canonical SignedInfo: digested up to the digest of the document, and what stands behind that.
        self._info_state = hashlib.new(self._digest_algorithm, f"<ds:SignedInfo{XMLNS_DS}>{before_digest}".encode())
        self._info_after = f"{after_digest}</ds:SignedInfo>".encode()
        self._pieces = (
            f'<ds:Signature{XMLNS_DS} Id="{signature_id}"><ds:SignedInfo>{before_digest}',
            f'{after_digest}</ds:SignedInfo><ds:SignatureValue Id="{value_id}">',
            f"</ds:SignatureValue><ds:KeyInfo>{parts.key_info}<ds:Object>"
            f'<xades:QualifyingProperties{XMLNS_XADES} Target="#{signature_id}">'
            + self._signed_properties(properties_id, reference_id),
            "</xades:QualifyingProperties></ds:Object></ds:Signature>",
        )
        self._fixed_bytes: dict[str, int] = {}
        # What an archive time stamp is about, between the document and the unsigned properties: see `archived`.
        self._archived = (
            f"{properties}<ds:SignedInfo{XMLNS_DS}>{before_digest}",
            f'{after_digest}</ds:SignedInfo><ds:SignatureValue{XMLNS_DS} Id="{value_id}">',
            f"</ds:SignatureValue><ds:KeyInfo{XMLNS_DS}>{parts.key_info}",
        )

    def signed_info_digest(self, document_digest: bytes) -> bytes:
        """Digest of the canonical SignedInfo: what is signed upstream. `document_digest` is that of the canonical document."""
        state = self._info_state.copy()
        state.update(b2a_base64(document_digest, newline=False) + self._info_after)
        return state.digest()

    def signature(self, document_digest: bytes, signature: bytes, unsigned: str = "") -> str:
        """The ds:Signature element. `signature` is the value as the credential gives it, `unsigned` are unsigned properties.

        Raises ItemRejected for a signature value that is not as long as the credential's.
        """
        start, middle, rest, end = self._pieces
        value = _base64(raw_value(signature, self.value_bytes, is_ecdsa=self.is_ecdsa))
        return "".join((start, _base64(document_digest), middle, value, rest, unsigned, end))

    def archived(self, document_digest: bytes, signature: bytes) -> bytes:
        """The canonical SignedProperties, SignedInfo, SignatureValue and KeyInfo, as an archive time stamp covers them.

        SignedProperties is what the second reference is about, and so stands first, behind the document (EN 319 132-1 5.5.2.2).
        """
        start, middle, end = self._archived
        value = _base64(raw_value(signature, self.value_bytes, is_ecdsa=self.is_ecdsa))
        return "".join((start, _base64(document_digest), middle, value, end)).encode()

    def encoded_bytes(self, codec: str) -> int:
        """The bytes that `signature` takes in this encoding, without unsigned properties."""
        fixed = self._fixed_bytes.get(codec)
        if fixed is None:
            empty = [encoded(piece, codec) for piece in self._pieces]
            width = len(encoded("=", codec))
            # The digest and the signature value never change their lengths.
            values = base64_length(DIGEST_BYTES[self._digest_algorithm]) + base64_length(self.value_bytes)
            fixed = self._fixed_bytes[codec] = sum(map(len, empty)) + width * values
        return fixed

    def _digest_text(self, canonical: str) -> str:
        return _base64(hashlib.new(self._digest_algorithm, canonical.encode()).digest())

    def _signed_info(self, properties_digest: str, reference_id: str, properties_id: str) -> tuple[str, str]:
        """The content of SignedInfo before and after the digest of the document."""
        exclusive = f'<ds:Transform Algorithm="{names.EXCLUSIVE}"></ds:Transform>'
        canonical = f'<ds:Transform Algorithm="{CANONICAL_TRANSFORMS[self.style.canonical]}"></ds:Transform>'
        digest_method = f'<ds:DigestMethod Algorithm="{self._parts.digest_method}"></ds:DigestMethod><ds:DigestValue>'
        before = (
            f'<ds:CanonicalizationMethod Algorithm="{names.EXCLUSIVE}"></ds:CanonicalizationMethod>'
            f'<ds:SignatureMethod Algorithm="{self._parts.method}"></ds:SignatureMethod>'
            f'<ds:Reference Id="{reference_id}" URI="{self.style.uri}"><ds:Transforms>'
            f"{TRANSFORMS[self.style.transform]}{canonical}</ds:Transforms>{digest_method}"
        )
        after = (
            "</ds:DigestValue></ds:Reference>"
            f'<ds:Reference Type="{names.SIGNED_PROPERTIES}" URI="#{properties_id}">'
            f"<ds:Transforms>{exclusive}</ds:Transforms>{digest_method}{properties_digest}</ds:DigestValue></ds:Reference>"
        )
        return before, after

    def _signed_properties(self, properties_id: str, reference_id: str, *, xades: str = "", ds: str = "") -> str:
        """SignedProperties, in the order of its schema. `xades` and `ds` are the declarations of the canonical form."""
        style = self.style
        parts = [
            f'<xades:SignedProperties{xades} Id="{properties_id}"><xades:SignedSignatureProperties>',
            f"<xades:SigningTime>{style.signing_time}</xades:SigningTime>",
            "<xades:SigningCertificateV2><xades:Cert><xades:CertDigest>",
            _digest_and_value(self._digest_algorithm, self._parts.certificate_digest, ds),
            "</xades:CertDigest></xades:Cert></xades:SigningCertificateV2>",
        ]
        if style.policy is not None:
            parts.append(_policy(style.policy, ds))
        if style.city:
            parts.append(
                f"<xades:SignatureProductionPlaceV2><xades:City>{escaped(style.city)}</xades:City>"
                "</xades:SignatureProductionPlaceV2>"
            )
        if style.role:
            parts.append(
                "<xades:SignerRoleV2><xades:ClaimedRoles>"
                f"<xades:ClaimedRole>{escaped(style.role)}</xades:ClaimedRole></xades:ClaimedRoles></xades:SignerRoleV2>"
            )
        parts.append(
            "</xades:SignedSignatureProperties><xades:SignedDataObjectProperties>"
            f'<xades:DataObjectFormat ObjectReference="#{reference_id}"><xades:MimeType>{style.mime_type}</xades:MimeType>'
            "</xades:DataObjectFormat></xades:SignedDataObjectProperties></xades:SignedProperties>"
        )
        return "".join(parts)


def _policy(policy: SignaturePolicy, ds: str) -> str:
    """SignaturePolicyIdentifier (EN 319 132-1 5.2.9), which makes the signature an EPES."""
    qualifiers = (
        "<xades:SigPolicyQualifiers><xades:SigPolicyQualifier>"
        f"<xades:SPURI>{escaped(policy.url)}</xades:SPURI></xades:SigPolicyQualifier></xades:SigPolicyQualifiers>"
        if policy.url
        else ""
    )
    return (
        "<xades:SignaturePolicyIdentifier><xades:SignaturePolicyId><xades:SigPolicyId>"
        f"<xades:Identifier>{escaped(policy.identifier)}</xades:Identifier></xades:SigPolicyId><xades:SigPolicyHash>"
        f"{_digest_and_value(policy.digest_algorithm, policy.digest, ds)}</xades:SigPolicyHash>{qualifiers}"
        "</xades:SignaturePolicyId></xades:SignaturePolicyIdentifier>"
    )


def _digest_and_value(algorithm: str, digest: bytes, ds: str) -> str:
    return (
        f'<ds:DigestMethod{ds} Algorithm="{names.DIGESTS[algorithm]}"></ds:DigestMethod>'
        f"<ds:DigestValue{ds}>{_base64(digest)}</ds:DigestValue>"
    )


def raw_value(signature: bytes, value_bytes: int, *, is_ecdsa: bool) -> bytes:
    """A signature value as XML has it: for ECDSA r and s, each as long as the order of the curve (RFC 6931 2.3.6).

    Raises ItemRejected for one that does not have `value_bytes` then.
    """
    value = signature
    if is_ecdsa:
        from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

        try:
            value = b"".join(number.to_bytes(value_bytes // 2, "big") for number in decode_dss_signature(signature))
        except (ValueError, OverflowError):
            raise ItemRejected("the signature value is not an ECDSA signature of its key") from None
    if len(value) != value_bytes:
        raise ItemRejected(f"a signature value of {len(value)} bytes does not fit its key")
    return value


def canonical_value(style: Style, raw: bytes) -> bytes:
    """The canonical SignatureValue element, which a signature time stamp is about (EN 319 132-1 5.3)."""
    return f'<ds:SignatureValue{XMLNS_DS} Id="{style.ids[2]}">{_base64(raw)}</ds:SignatureValue>'.encode()


def encoded(text: str, codec: str) -> bytes:
    """`text` in the encoding of a document. What that lacks becomes a character reference."""
    return text.encode(codec, "xmlcharrefreplace")


def escaped(text: str) -> str:
    """`text` as canonical XML writes it between tags (Canonical XML 1.0 2.3)."""
    for character, reference in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("\r", "&#xD;")):
        text = text.replace(character, reference)
    return text


def _base64(data: bytes) -> str:
    return b2a_base64(data, newline=False).decode("ascii")


def base64_length(count: int) -> int:
    return 4 * -(-count // 3)


_parts = lru_cache(maxsize=64)(CredentialParts)
# Saves the little that a template costs where a whole operation has the same one.
_template = lru_cache(maxsize=64)(XadesTemplate)
