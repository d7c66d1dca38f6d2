"""A verifier of evidence records (RFC 4998 4.3) that shares nothing with the code that writes them."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from asn1crypto import algos, cms, core, tsp
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15


class PartialHashtree(core.SequenceOf):  # type: ignore[misc]
    _child_spec = core.OctetString


class PartialHashtrees(core.SequenceOf):  # type: ignore[misc]
    _child_spec = PartialHashtree


class ArchiveTimeStamp(core.Sequence):  # type: ignore[misc]
    _fields = [  # noqa: RUF012
        ("digest_algorithm", algos.DigestAlgorithm, {"implicit": 0, "optional": True}),
        ("attributes", cms.CMSAttributes, {"implicit": 1, "optional": True}),
        ("reduced_hashtree", PartialHashtrees, {"implicit": 2, "optional": True}),
        ("time_stamp", cms.ContentInfo),
    ]


class Chain(core.SequenceOf):  # type: ignore[misc]
    _child_spec = ArchiveTimeStamp


class Chains(core.SequenceOf):  # type: ignore[misc]
    _child_spec = Chain


class DigestAlgorithms(core.SequenceOf):  # type: ignore[misc]
    _child_spec = algos.DigestAlgorithm


class EvidenceRecord(core.Sequence):  # type: ignore[misc]
    _fields = [  # noqa: RUF012
        ("version", core.Integer),
        ("digest_algorithms", DigestAlgorithms),
        ("crypto_infos", core.SequenceOf, {"implicit": 0, "optional": True, "spec": core.Any}),
        ("encryption_info", core.Sequence, {"implicit": 1, "optional": True}),
        ("archive_time_stamp_sequence", Chains),
    ]


@dataclass(frozen=True)
class Verified:
    """What a record says: the token over the root, and how many digests its reduced tree has."""

    token: bytes
    lists: Sequence[Sequence[bytes]]
    info: tsp.TSTInfo


def read_record(encoded: bytes) -> tuple[Sequence[Sequence[bytes]], cms.ContentInfo]:
    """The reduced tree and the time stamp of a record of one ArchiveTimeStamp with SHA-256. Raises ValueError."""
    record = EvidenceRecord.load(encoded, strict=True)
    assert record["version"].native == 1
    assert [one["algorithm"].native for one in record["digest_algorithms"]] == ["sha256"]
    ((stamp,),) = record["archive_time_stamp_sequence"]
    assert stamp["digest_algorithm"]["algorithm"].native == "sha256"
    lists = [] if isinstance(stamp["reduced_hashtree"], core.Void) else stamp["reduced_hashtree"].native
    return lists, stamp["time_stamp"]


def root_of(lists: Sequence[Sequence[bytes]], digest: bytes) -> bytes:
    """RFC 4998 4.3, steps 1 to 3. Raises ValueError where the digest is not in the first list."""
    if lists and digest not in lists[0]:
        raise ValueError("the record is about another document")
    node = digest
    for number, nodes in enumerate(lists):
        children = [*nodes, node] if number else list(nodes)
        node = hashlib.sha256(b"".join(sorted(children))).digest()
    return node


def verify(encoded: bytes, document: bytes, authority: bytes | None = None) -> Verified:
    """Raises ValueError or InvalidSignature unless the record is about the document and its stamp is signed.

    `authority`: the root certificate (DER) that the signer's must lead to, by those in the token.
    """
    lists, stamp = read_record(encoded)
    node = root_of(lists, hashlib.sha256(document).digest())
    signed = stamp["content"]
    content = signed["encap_content_info"]["content"]
    info = content.parsed
    if info["message_imprint"]["hashed_message"].native != node:
        raise ValueError("the time stamp is about another root")
    (signer,) = signed["signer_infos"]
    serial = signer["sid"].chosen["serial_number"].native
    (leaf,) = [one.chosen for one in signed["certificates"] if one.chosen.serial_number == serial]
    certificate = x509.load_der_x509_certificate(leaf.dump())
    attributes = {one["type"].native: one["values"][0].native for one in signer["signed_attrs"]}
    if attributes["message_digest"] != hashlib.sha256(bytes(content)).digest():
        raise ValueError("the token's signature is about another content")
    text, value = signer["signed_attrs"].untag().dump(), signer["signature"].native
    key, algorithm = certificate.public_key(), certificate.signature_hash_algorithm
    assert algorithm is not None
    if isinstance(key, ec.EllipticCurvePublicKey):
        key.verify(value, text, ec.ECDSA(algorithm))
    else:
        assert isinstance(key, rsa.RSAPublicKey)
        key.verify(value, text, PKCS1v15(), algorithm)
    if authority is not None:
        root = x509.load_der_x509_certificate(authority)
        others = [x509.load_der_x509_certificate(one.chosen.dump()) for one in signed["certificates"]]
        while certificate.issuer != root.subject:
            (issuer,) = [one for one in others if one.subject == certificate.issuer]
            certificate.verify_directly_issued_by(issuer)
            certificate = issuer
        certificate.verify_directly_issued_by(root)
    return Verified(stamp.dump(), lists, info)
