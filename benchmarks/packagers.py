"""Ours and the peers, each as one function: documents in, signed documents out, the raw signature given by a callable.

Peers are called as their documentation says, with what speeds them up and changes no output: a reserve of fixed size for
pyHanko. Those for PDF write an invisible PAdES signature with the same certificate chain, reason and location, into room for
4 KB. `sealer` is ours for every format; the peers for XML and CMS stand beside what they are measured with.
"""

import asyncio
import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from harness.validators.local_signer import local_signer

from batchseal.document import Credential, Description, Evidence, Refusal
from batchseal.formats.interface import BATCH_DOCUMENTS, SignatureFormat
from batchseal.formats.pades.pades import Pades
from batchseal.operation import ContentType

REASON, LOCATION = "Fatura", "Oeiras"
OURS = "batchseal"
SIGNATURE_BYTES = 256
CONTENTS_BYTES = 4096

# The SHA-256 digest of the DER signed attributes to the raw RSA-2048 signature.
RawSign = Callable[[bytes], bytes]
# Segments of each signed file, in order; peers give one.
Packager = Callable[[Sequence[bytes], RawSign], list[Sequence[Any]]]


def fixed(digest: bytes) -> bytes:
    return b"\x5a" * SIGNATURE_BYTES


def real(digest: bytes) -> bytes:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding, utils

    return local_signer().key.sign(digest, padding.PKCS1v15(), utils.Prehashed(hashes.SHA256()))


@dataclass(frozen=True, slots=True)
class Contender:
    name: str
    seal: Packager
    share: float = 1.0  # of the corpus that it gets in a round: slow ones get less


def credential() -> Credential:
    """The key of `local_signer`, as the service knows one."""
    leaf = local_signer().certificate.dump()
    return Credential("bench", (leaf,), "rsa", SIGNATURE_BYTES, "sha256", hashlib.sha256(leaf).digest())


def sealer(form: SignatureFormat, description: Description, at_a_time: int = BATCH_DOCUMENTS) -> Packager:
    """What reception and delivery do with a batch: read, digest, signature, segments gathered and not joined."""
    key = credential()

    def seal(documents: Sequence[bytes], sign: RawSign) -> list[Sequence[Any]]:
        moment = datetime.now(UTC)  # one for an operation
        out: list[Sequence[Any]] = []
        for at in range(0, len(documents), at_a_time):
            batch = documents[at : at + at_a_time]
            originals = [(ordinal, description, content) for ordinal, content in enumerate(batch)]
            for content, prepared in zip(batch, form.prepare(originals, key, moment), strict=True):
                if isinstance(prepared, Refusal):
                    raise RuntimeError(prepared.cause)
                out.append(form.package(content, prepared, Evidence(sign(prepared.digest)), key).segments)
        return out

    return seal


def ours() -> Contender:
    return Contender(OURS, sealer(Pades(), Description("bench", "bench.pdf", ContentType.PDF, REASON, LOCATION)))


def rustpdf() -> Contender:
    import rustpdf as peer

    options = peer.SigningOptions(reason=REASON, location=LOCATION, pades=True, container_size=CONTENTS_BYTES)
    leaf = local_signer().certificate.dump()

    def seal(documents: Sequence[bytes], sign: RawSign) -> list[Sequence[Any]]:
        def raw(data: bytes) -> bytes:
            return sign(hashlib.sha256(data).digest())

        return [(peer.sign_with(document, leaf, raw, options=options),) for document in documents]

    return Contender("rustpdf", seal)


def pyunderskrift() -> Contender:
    import pyunderskrift as peer

    leaf = local_signer().certificate.dump()
    info = peer.RemoteSignerInfo(leaf, [leaf], peer.DigestAlgorithm.Sha256, peer.SignatureAlgorithm.RsaPkcs1v15)
    options = peer.RemoteSigningOptions(reason=REASON, location=LOCATION, content_size=CONTENTS_BYTES)

    def seal(documents: Sequence[bytes], sign: RawSign) -> list[Sequence[Any]]:
        out: list[Sequence[Any]] = []
        for document in documents:
            prepared = peer.prepare_signature(document, info, options)
            out.append((peer.finalize_signature(prepared, sign(bytes(prepared.attrs_hash))),))
        return out

    return Contender("pyunderskrift", seal)


def raw_signer(sign: RawSign) -> Any:
    """pyHanko's Signer for `local_signer`, whose raw signatures `sign` gives."""
    from pyhanko.sign.signers import Signer
    from pyhanko_certvalidator.registry import SimpleCertificateStore

    class RawSigner(Signer):
        def __init__(self) -> None:
            registry = SimpleCertificateStore.from_certs([local_signer().certificate])
            super().__init__(signing_cert=local_signer().certificate, cert_registry=registry, prefer_pss=False)

        async def async_sign_raw(self, data: bytes, digest_algorithm: str, dry_run: bool = False) -> bytes:
            return bytes(SIGNATURE_BYTES) if dry_run else sign(hashlib.sha256(data).digest())

    return RawSigner()


def pyhanko(*, reserve: bool) -> Contender:
    from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
    from pyhanko.sign import PdfSignatureMetadata, PdfSigner
    from pyhanko.sign.fields import SigSeedSubFilter

    meta = PdfSignatureMetadata(
        field_name="Signature1",
        md_algorithm="sha256",
        reason=REASON,
        location=LOCATION,
        subfilter=SigSeedSubFilter.PADES,
    )
    bytes_reserved = 2 * CONTENTS_BYTES if reserve else None

    async def seal_all(documents: Sequence[bytes], sign: RawSign) -> list[Sequence[Any]]:
        signer = PdfSigner(meta, raw_signer(sign))
        out: list[Sequence[Any]] = []
        for document in documents:
            writer = IncrementalPdfFileWriter(io.BytesIO(document))
            signed = await signer.async_sign_pdf(writer, bytes_reserved=bytes_reserved)
            out.append((signed.getbuffer(),))
        return out

    def seal(documents: Sequence[bytes], sign: RawSign) -> list[Sequence[Any]]:
        return asyncio.run(seal_all(documents, sign))

    return Contender("pyhanko, fixed reserve" if reserve else "pyhanko", seal, share=0.05)


def contenders() -> list[Contender]:
    """Ours first, then the peers that are installed."""
    found = [ours()]
    for make in (rustpdf, pyunderskrift, lambda: pyhanko(reserve=True), lambda: pyhanko(reserve=False)):
        try:
            found.append(make())
        except ImportError:
            continue
    return found
