"""What formats need to know of a time stamp token (RFC 3161): its certificates, and its parts where an attribute is added."""

from functools import lru_cache

from asn1crypto import cms

from batchseal.errors import ItemRejected


def chain_of(token: bytes) -> tuple[bytes, ...]:
    """The certificates in the token that lead from its signer upwards, in DER. Raises ItemRejected."""
    try:
        signed = cms.ContentInfo.load(token)["content"]
        (signer,) = signed["signer_infos"]
        found = [choice.chosen for choice in signed["certificates"] if choice.name == "certificate"]
        leaf = next(one for one in found if _is_signer(signer["sid"], one))
    except (ValueError, TypeError, KeyError, StopIteration):
        raise ItemRejected("the time stamp does not hold the certificate of its signer") from None
    return _chain(leaf.dump(), tuple(one.dump() for one in found))


def _is_signer(sid: cms.SignerIdentifier, certificate: object) -> bool:
    if sid.name == "subject_key_identifier":
        return bool(sid.native == certificate.key_identifier)  # type: ignore[attr-defined]
    named = sid.chosen
    return bool(
        named["serial_number"].native == certificate.serial_number  # type: ignore[attr-defined]
        and named["issuer"] == certificate.issuer  # type: ignore[attr-defined]
    )


@lru_cache(maxsize=64)
def _chain(leaf: bytes, others: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """The leaf, then issuer after issuer as far as they are there."""
    from asn1crypto import x509

    parsed = [x509.Certificate.load(der) for der in others]
    chain, last = [leaf], x509.Certificate.load(leaf)
    while last.subject != last.issuer:
        issuers = [one for one in parsed if one.subject == last.issuer and one.dump() not in chain]
        if not issuers:
            break
        last = issuers[0]
        chain.append(last.dump())
    return tuple(chain)
