"""What formats need to know of a time stamp token (RFC 3161): its certificates, and its parts where an attribute is added."""

from collections.abc import Sequence
from functools import lru_cache

from asn1crypto import cms, x509

from batchseal.errors import ItemRejected
from batchseal.formats.der import CONTEXT_0, CONTEXT_1, ID_SIGNED_DATA, SEQUENCE, children, content_at, end_at


def chain_of(token: bytes) -> tuple[bytes, ...]:
    """The certificates in the token that lead from its signer upwards, in DER. Raises ItemRejected.

    Tokens of one authority have the same certificates nearly always. So they are parsed once, if the token is in DER.
    """
    try:
        return _chain_of(*_fields(token))
    except (ItemRejected, ValueError, IndexError, StopIteration):
        return _chain_of_any(token)


def _fields(token: bytes) -> tuple[bytes, bytes]:
    """The fields `certificates` of SignedData and `sid` of its only SignerInfo. Raises ItemRejected, IndexError.

    Every document of level LT needs them. So this goes from length to length, and takes nothing apart.
    """
    at = content_at(token, 0)
    if not token.startswith(ID_SIGNED_DATA, at):
        raise ItemRejected("a CMS holds no signature")
    at = content_at(token, content_at(token, at + len(ID_SIGNED_DATA)))
    for _ in ("version", "digestAlgorithms", "encapContentInfo"):
        at = end_at(token, at)
    certificates = token[at : end_at(token, at)]
    if certificates[:1] != CONTEXT_0:
        raise ItemRejected("the time stamp holds no certificates")
    at += len(certificates)
    if token[at : at + 1] == CONTEXT_1:  # crls
        at = end_at(token, at)
    signer = content_at(token, at)
    if end_at(token, signer) != end_at(token, at):
        raise ItemRejected("the time stamp has not one signer")
    sid = end_at(token, content_at(token, signer))  # behind the version
    return certificates, token[sid : end_at(token, sid)]


@lru_cache(maxsize=64)
def _chain_of(certificates: bytes, sid: bytes) -> tuple[bytes, ...]:
    """`certificates` and `sid` are the fields of SignedData and SignerInfo."""
    found = [x509.Certificate.load(der) for der in children(certificates) if der[:1] == SEQUENCE]
    signer = cms.SignerIdentifier.load(sid)
    leaf = next(one for one in found if _is_signer(signer, one))
    return _chain(leaf, found)


def _chain_of_any(token: bytes) -> tuple[bytes, ...]:
    try:
        signed = cms.ContentInfo.load(token)["content"]
        (signer,) = signed["signer_infos"]
        found = [choice.chosen for choice in signed["certificates"] if choice.name == "certificate"]
        leaf = next(one for one in found if _is_signer(signer["sid"], one))
        return _chain(leaf, found)
    except (ValueError, TypeError, KeyError, StopIteration):
        raise ItemRejected("the time stamp does not hold the certificate of its signer") from None


def _is_signer(sid: cms.SignerIdentifier, certificate: object) -> bool:
    if sid.name == "subject_key_identifier":
        return bool(sid.native == certificate.key_identifier)  # type: ignore[attr-defined]
    named = sid.chosen
    return bool(
        named["serial_number"].native == certificate.serial_number  # type: ignore[attr-defined]
        and named["issuer"] == certificate.issuer  # type: ignore[attr-defined]
    )


def _chain(leaf: x509.Certificate, others: Sequence[x509.Certificate]) -> tuple[bytes, ...]:
    """The leaf, then issuer after issuer as far as they are there."""
    chain, last = [leaf.dump()], leaf
    while last.subject != last.issuer:
        issuers = [one for one in others if one.subject == last.issuer and one.dump() not in chain]
        if not issuers:
            break
        last = issuers[0]
        chain.append(last.dump())
    return tuple(chain)
