"""Ours and the peers, each as one function: PDFs in, signed PDFs out, the raw signature given by a callable.

Peers are called as their documentation says, with what speeds them up and changes no output: a reserve of fixed size for
pyHanko. All write an invisible PAdES signature with the same certificate chain, reason and location, into room for 4 KB.
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
from batchseal.formats.interface import BATCH_DOCUMENTS
from batchseal.formats.pades.pades import Pades
from batchseal.operation import ContentType

REASON, LOCATION = "Fatura", "Oeiras"
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


def ours() -> Contender:
    """What reception and delivery do with a batch: plan, digest, CMS, segments gathered and not joined."""
    signer = local_signer()
    leaf = signer.certificate.dump()
    credential = Credential("bench", (leaf,), "rsa", SIGNATURE_BYTES, "sha256", hashlib.sha256(leaf).digest())
    pades = Pades()
    description = Description("bench", "bench.pdf", ContentType.PDF, REASON, LOCATION)

    def seal(documents: Sequence[bytes], sign: RawSign) -> list[Sequence[Any]]:
        out: list[Sequence[Any]] = []
        for at in range(0, len(documents), BATCH_DOCUMENTS):
            batch = documents[at : at + BATCH_DOCUMENTS]
            originals = [(ordinal, description, content) for ordinal, content in enumerate(batch)]
            for content, prepared in zip(batch, pades.prepare(originals, credential, datetime.now(UTC)), strict=True):
                if isinstance(prepared, Refusal):
                    raise RuntimeError(prepared.cause)
                evidence = Evidence(sign(prepared.digest))
                out.append(pades.package(content, prepared, evidence, credential).segments)
        return out

    return Contender("batchseal", seal)


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


def pyhanko(*, reserve: bool) -> Contender:
    from pyhanko.pdf_utils.incremental_writer import IncrementalPdfFileWriter
    from pyhanko.sign import PdfSignatureMetadata, PdfSigner
    from pyhanko.sign.fields import SigSeedSubFilter
    from pyhanko.sign.signers import Signer
    from pyhanko_certvalidator.registry import SimpleCertificateStore

    class RawSigner(Signer):
        def __init__(self, sign: RawSign) -> None:
            registry = SimpleCertificateStore.from_certs([local_signer().certificate])
            super().__init__(signing_cert=local_signer().certificate, cert_registry=registry, prefer_pss=False)
            self.sign = sign

        async def async_sign_raw(self, data: bytes, digest_algorithm: str, dry_run: bool = False) -> bytes:
            return bytes(SIGNATURE_BYTES) if dry_run else self.sign(hashlib.sha256(data).digest())

    meta = PdfSignatureMetadata(
        field_name="Signature1",
        md_algorithm="sha256",
        reason=REASON,
        location=LOCATION,
        subfilter=SigSeedSubFilter.PADES,
    )
    bytes_reserved = 2 * CONTENTS_BYTES if reserve else None

    async def seal_all(documents: Sequence[bytes], sign: RawSign) -> list[Sequence[Any]]:
        signer = PdfSigner(meta, RawSigner(sign))
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
