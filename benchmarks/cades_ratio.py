"""CAdES packaging beside pyHanko's CMS writer: documents per CPU second of one core, with a fixed raw signature.

    python -m benchmarks.cades_ratio            attached, 200 KB, medians of interleaved rounds
    python -m benchmarks.cades_ratio --judge    each output judged as well

Both get the same binary documents from memory, digest them and write a CMS of level B with the document in it, with the same
certificate and the same signed attributes (content-type, message-digest, signing-certificate-v2, signing-time). Ours comes out
as segments around the original, which is how it is stored and sent; pyHanko's as one DER.

Judging: with the fixed signature, the CMS must hold the document and its digest. With a real RSA-2048 key, OpenSSL
(`cms -verify -cades`) must give the document back, and pyHanko must take it.
"""

import asyncio
import hashlib
import random
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from asn1crypto import cms
from benchmarks import on_its_own
from benchmarks.packagers import OURS, Contender, RawSign, fixed, raw_signer, real, sealer
from benchmarks.packaging_ratio import measure_corpus, void_ours
from harness import tools
from harness.held_folder import held_folder
from harness.validators.local_signer import local_signer

from batchseal.client.judges.cms import judge_cms
from batchseal.document import Description
from batchseal.formats.cades.cades import Cades
from batchseal.operation import ContentType
from batchseal.signature import SignatureType

DOCUMENT_BYTES = 200_000
ROUNDS = 7
JUDGED = 10
PYHANKO = "pyhanko"


DESCRIPTION = Description(
    "bench", "bench.bin", ContentType.OTHER, None, None, signature_type=SignatureType.CADES, other_type="x/y"
)


def ours(name: str = OURS, **how: int) -> Contender:
    return Contender(name, sealer(Cades(), DESCRIPTION, **how))


def pyhanko() -> Contender:
    from pyhanko.sign.signers.pdf_cms import PdfCMSSignedAttributes

    async def seal_all(documents: Sequence[bytes], sign: RawSign) -> list[Sequence[Any]]:
        signer = raw_signer(sign)
        attributes = PdfCMSSignedAttributes(signing_time=datetime.now(UTC).replace(microsecond=0))
        out: list[Sequence[Any]] = []
        for document in documents:
            signed = await signer.async_sign_general_data(
                document, "sha256", detached=False, use_cades=True, signed_attr_settings=attributes
            )
            out.append((signed.dump(),))
        return out

    return Contender(PYHANKO, lambda documents, sign: asyncio.run(seal_all(documents, sign)), share=0.25)


def contenders() -> list[Contender]:
    return [ours(), ours(f"{OURS}, one at a time", at_a_time=1), pyhanko()]


def holds(signed: bytes, document: bytes) -> bool:
    """Whether the CMS contains the document, and its digest among the signed attributes."""
    data = cms.ContentInfo.load(signed, strict=True)["content"]
    (signer,) = data["signer_infos"]
    (digest,) = [a["values"][0].native for a in signer["signed_attrs"] if a["type"].native == "message_digest"]
    return bool(
        data["encap_content_info"]["content"].native == document and digest == hashlib.sha256(document).digest()
    )


def openssl_takes(path: Path, document: bytes, root: Path) -> bool:
    """Whether OpenSSL takes the signature and gives the document back."""
    command = [
        "openssl",
        "cms",
        "-verify",
        "-cades",
        "-binary",
        "-inform",
        "DER",
        "-in",
        str(path),
        "-CAfile",
        str(root),
    ]
    done = subprocess.run(command, capture_output=True, timeout=60)
    return done.returncode == 0 and done.stdout == document


def judge(contender: Contender, documents: Sequence[bytes], folder: Path) -> dict[str, int]:
    """How many of the first documents each judge takes."""
    chosen = documents[:JUDGED]
    folder.mkdir()
    root = folder / "root.pem"
    root.write_bytes(local_signer().root_pem)
    made = [b"".join(segments) for segments in contender.seal(chosen, fixed)]
    counts = {"documents": len(chosen), "intact": sum(map(holds, made, chosen))}
    paths = [folder / f"{number}.p7m" for number in range(len(chosen))]
    for path, segments in zip(paths, contender.seal(chosen, real), strict=True):
        path.write_bytes(b"".join(segments))
    counts["pyhanko"] = sum(judge_cms(path, [local_signer().root_der], None).valid for path in paths)
    if not tools.missing(tools.OPENSSL):
        counts["openssl"] = sum(openssl_takes(path, one, root) for path, one in zip(paths, chosen, strict=True))
    return counts


def measure(count: int = 160, rounds: int = ROUNDS, *, with_judges: bool = True) -> dict[str, Any]:
    """The figure, the rates that it comes from, and what the judges say."""
    documents = [random.Random(number).randbytes(DOCUMENT_BYTES) for number in range(count)]
    rates = measure_corpus(documents, rounds, contenders())
    result: dict[str, Any] = {
        "cades_over_pyhanko": round(rates[OURS] / rates[PYHANKO], 1),
        "rates": {"200k": rates},
        "judged": {},
    }
    if with_judges:
        with held_folder("cades") as folder:
            judged = {one.name: judge(one, documents, folder / one.name) for one in (ours(), pyhanko())}
        result["judged"]["200k"] = judged
        if void_ours(judged):
            raise RuntimeError(f"the figure is void, a judge refuses ours: {judged[OURS]}")
    return result


if __name__ == "__main__":
    on_its_own.run(__doc__, measure, count=160, rounds=ROUNDS)
