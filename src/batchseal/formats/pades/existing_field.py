"""What an existing signature field demands of its signature: the seed values of ISO 32000-2 12.7.5.5, tables 237 to 239.

The author of a document decides which seed values are required. Each of them is met, or the document is refused by the name of
the one that is not. Seed values that are only recommended are passed over: our signatures are always of one kind.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from asn1crypto import x509

from batchseal.signature import Level

HANDLER, ENCODING = "Adobe.PPKLite", "ETSI.CAdES.detached"
# The version of seed value dictionaries of PDF 2.0.
NEWEST_VERSION = 3
# Bits of /Ff in seed values and in constraints on certificates, in the order of the standard, from bit 1 on.
FLAGS = (
    *("Filter", "SubFilter", "V", "Reasons", "LegalAttestation", "AddRevInfo", "DigestMethod", "LockDocument"),
    "AppearanceFilter",
)
CERTIFICATE_FLAGS = ("Subject", "Issuer", "OID", "SubjectDN", "reserved", "KeyUsage", "URL")
# Keys of /SubjectDN that are names of attributes (RFC 4514 3). Others are object identifiers.
ATTRIBUTES = {
    **{"CN": "2.5.4.3", "SN": "2.5.4.4", "C": "2.5.4.6", "L": "2.5.4.7", "ST": "2.5.4.8", "STREET": "2.5.4.9"},
    **{"O": "2.5.4.10", "OU": "2.5.4.11", "DC": "0.9.2342.19200300.100.1.25", "UID": "0.9.2342.19200300.100.1.1"},
}
KEY_USAGES = (
    *("digital_signature", "non_repudiation", "key_encipherment", "data_encipherment", "key_agreement"),
    *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)
# How many of the reasons that a field permits a refusal tells, and how many characters of each.
TOLD_REASONS, TOLD_CHARACTERS = 5, 80


@dataclass(frozen=True, slots=True)
class SignatureFacts:
    """What the signature will be. `chain` holds certificates in DER, the one of the signer first."""

    level: Level
    digest_algorithm: str
    reason: str | None
    chain: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class PdfString:
    """A string: its bytes, and the same as a text (ISO 32000-2 7.9.2)."""

    content: bytes
    text: str


class PdfName(str):
    """A name, without its slash."""


def unmet_demand(seed_values: bytes, facts: SignatureFacts) -> str | None:
    """Why a signature cannot meet what the field demands; None where it can. `seed_values` is what the planner gives."""
    if not seed_values:
        return None
    reader = _Reader(seed_values)
    demands, lock_level = reader.value(), reader.value()
    if not isinstance(demands, dict) or not isinstance(lock_level, float):
        return "the field's seed values (/SV) are malformed"
    required = _flags(demands.get("Ff"), FLAGS)
    for name in required:
        judge = JUDGES.get(name)
        value = demands.get(name)
        if judge is None:
            return _refusal(name, "it is not known what it demands")
        if value is None and name != "Reasons":
            continue
        if (why := judge(value, facts, int(lock_level))) is not None:
            return _refusal(name, why)
    # These two are demands without a flag beside the others.
    for name, one in (("MDP", _mdp(demands.get("MDP"))), ("TimeStamp", _time_stamp(demands.get("TimeStamp"), facts))):
        if one is not None:
            return _refusal(name, one)
    return _certificate(demands.get("Cert"), facts)


def _refusal(name: str, why: str) -> str:
    return f"the field demands {name} of its signature (/SV): {why}"


def _flags(value: object, names: Sequence[str]) -> list[str]:
    """The names of the bits that are set, and the numbers of bits that have none."""
    bits = int(value) if isinstance(value, float) else 0
    return [names[bit] if bit < len(names) else f"bit {bit + 1} of /Ff" for bit in range(32) if bits >> bit & 1]


def _names(value: object) -> list[str]:
    """A name or a string, or an array of them, as texts."""
    members = value if isinstance(value, list) else [value]
    texts = [one.text if isinstance(one, PdfString) else one for one in members]
    return [text for text in texts if isinstance(text, str)]


# --- the seed values ------------------------------------------------------------------------------------------------------
# Each function says why a demand cannot be met; None where it can.


def _filter(value: object, facts: SignatureFacts, lock_level: int) -> str | None:
    return None if HANDLER in _names(value) else f"only the handler {HANDLER} is offered"


def _sub_filter(value: object, facts: SignatureFacts, lock_level: int) -> str | None:
    # Of an array, the first encoding counts that the signer has. We have one.
    return None if ENCODING in _names(value) else f"only the encoding {ENCODING} is offered"


def _version(value: object, facts: SignatureFacts, lock_level: int) -> str | None:
    known = isinstance(value, float) and value <= NEWEST_VERSION
    return None if known else f"only versions up to {NEWEST_VERSION} are known"


def _reasons(value: object, facts: SignatureFacts, lock_level: int) -> str | None:
    reasons = _names(value)
    if not reasons or reasons == ["."]:
        return None if not facts.reason else "no reason may be given"
    if facts.reason in reasons:
        return None
    told = ", ".join(repr(reason[:TOLD_CHARACTERS]) for reason in reasons[:TOLD_REASONS])
    more = f" and {len(reasons) - TOLD_REASONS} more" if len(reasons) > TOLD_REASONS else ""
    return f"the reason must be one of {told}{more}"


def _attestation(value: object, facts: SignatureFacts, lock_level: int) -> str | None:
    return "attestations are not offered"


def _revocation(value: object, facts: SignatureFacts, lock_level: int) -> str | None:
    # Table 237: true is for encodings of which ours is none. Ours has its revocation data beside the signature.
    return "revocation data inside the signature is not offered" if value is not False else None


def _digest(value: object, facts: SignatureFacts, lock_level: int) -> str | None:
    wanted = {name.upper().replace("-", "") for name in _names(value)}
    ours = facts.digest_algorithm.upper()
    return None if ours in wanted else f"the credential signs digests of {ours}"


def _lock(value: object, facts: SignatureFacts, lock_level: int) -> str | None:
    is_locked = lock_level == 1
    if value == "auto" or (value == "true" and is_locked) or (value == "false" and not is_locked):
        return None
    return "the field's /Lock does not say the same"


def _appearance(value: object, facts: SignatureFacts, lock_level: int) -> str | None:
    return "appearances that have a name are not offered"


JUDGES: dict[str, Callable[[Any, SignatureFacts, int], str | None]] = {
    "Filter": _filter,
    "SubFilter": _sub_filter,
    "V": _version,
    "Reasons": _reasons,
    "LegalAttestation": _attestation,
    "AddRevInfo": _revocation,
    "DigestMethod": _digest,
    "LockDocument": _lock,
    "AppearanceFilter": _appearance,
}


def _mdp(value: object) -> str | None:
    level = value.get("P") if isinstance(value, dict) else None
    return None if level is None or level == 0 else "certifications are not offered"


def _time_stamp(value: object, facts: SignatureFacts) -> str | None:
    """The stamp comes from our own authority, whatever address the field names."""
    flags = value.get("Ff") if isinstance(value, dict) else None
    is_required = isinstance(flags, float) and int(flags) & 1
    return "a time stamp must be asked for" if is_required and facts.level < Level.T else None


# --- the certificate --------------------------------------------------------------------------------------------------------


def _certificate(value: object, facts: SignatureFacts) -> str | None:
    """Table 239. An address (/URL) is a help for people who look for a certificate, so its flag demands nothing."""
    if not isinstance(value, dict):
        return None
    for name in _flags(value.get("Ff"), CERTIFICATE_FLAGS):
        wanted = value.get(name)
        if name == "URL" or (wanted is None and name in CERTIFICATE_JUDGES):
            continue
        judge = CERTIFICATE_JUDGES.get(name)
        if judge is None or not judge(wanted, facts):
            return _refusal(f"Cert {name}", "the certificate of the signer is not one of those that it permits")
    return None


def _encoded(value: object) -> list[bytes]:
    return [one.content for one in value if isinstance(one, PdfString)] if isinstance(value, list) else []


def _is_subject(value: object, facts: SignatureFacts) -> bool:
    return facts.chain[0] in _encoded(value)


def _has_issuer(value: object, facts: SignatureFacts) -> bool:
    return any(one in facts.chain[1:] for one in _encoded(value))


def _has_policies(value: object, facts: SignatureFacts) -> bool:
    policies = x509.Certificate.load(facts.chain[0]).certificate_policies_value
    present = {policy["policy_identifier"].dotted for policy in policies or ()}
    wanted = set(_names(value))
    return bool(wanted) and wanted <= present


def _has_name(value: object, facts: SignatureFacts) -> bool:
    """Whether the subject has all attributes of one of the dictionaries."""
    pairs = {
        (attribute["type"].dotted, attribute["value"].native)
        for part in x509.Certificate.load(facts.chain[0]).subject.chosen
        for attribute in part
    }
    names = [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
    return any(
        all(isinstance(text, PdfString) and (ATTRIBUTES.get(key, key), text.text) in pairs for key, text in one.items())
        for one in names
    )


def _has_usage(value: object, facts: SignatureFacts) -> bool:
    """Whether the key may be used as one of the patterns says: 1 must be set, 0 must not be, anything else is free."""
    usage = x509.Certificate.load(facts.chain[0]).key_usage_value
    ours = usage.native if usage is not None else set()
    return any(
        all((sign == "1") == (name in ours) for sign, name in zip(pattern, KEY_USAGES, strict=False) if sign in "01")
        for pattern in _names(value)
    )


CERTIFICATE_JUDGES: dict[str, Callable[[Any, SignatureFacts], bool]] = {
    "Subject": _is_subject,
    "Issuer": _has_issuer,
    "OID": _has_policies,
    "SubjectDN": _has_name,
    "KeyUsage": _has_usage,
}


# --- reading ----------------------------------------------------------------------------------------------------------------


class _Reader:
    """Reads what ext/pdfscan/pdf_seed_values.c writes, which bounds its length and its depth."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    def value(self) -> object:
        """None, a bool, a float, a PdfString, a PdfName, a list, or a dict with texts as keys; `...` for what is no value."""
        letter = self._content[self._at : self._at + 1]
        self._at += 1
        match letter:
            case b"t" | b"f":
                return letter == b"t"
            case b"#":
                return _number(self._counted())
            case b"s":
                return PdfString(self._counted(), self._counted().decode("utf-8", "replace"))
            case b"/":
                return PdfName(_unescaped(self._counted()))
            case b"[":
                return list(self._members(b"]"))
            case b"<":
                members = self._members(b">")
                return {str(key): value for key, value in zip(members[::2], members[1::2], strict=True)}
            case b"?":
                return ...
        return None

    def _members(self, end: bytes) -> list[object]:
        members = []
        while self._content[self._at : self._at + 1] != end:
            members.append(self.value())
        self._at += 1
        return members

    def _counted(self) -> bytes:
        start = self._at + 4
        self._at = start + int.from_bytes(self._content[self._at : start])
        return self._content[start : self._at]


def _number(text: bytes) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) < 1 << 53 else None


def _unescaped(name: bytes) -> str:
    """A name with its escapes (7.3.5): `#2F` is a slash."""
    first, *rest = name.split(b"#")
    parts = [first]
    for part in rest:
        try:
            parts.append(bytes.fromhex(part[:2].decode("ascii")) + part[2:] if len(part) > 1 else b"#" + part)
        except ValueError:
            parts.append(b"#" + part)
    return b"".join(parts).decode("utf-8", "replace")
