"""XAdES packaging beside lxml and signxml: documents per CPU second of one core, with a fixed raw signature in place of a key.

    python -m benchmarks.xades_ratio            20 KB and 200 KB, medians of interleaved rounds
    python -m benchmarks.xades_ratio --judge    each output judged as well

All get the same invoices in UBL from memory. Ours is everything from the original to the signed document: well-formedness,
place and ids, canonical form, digests, SignedInfo, and the signature put between two segments of the original (level B,
enveloped, exclusive canonical form, in the ExtensionContent). Two peers stand beside it:

- lxml parses, writes the exclusive canonical form and digests it with hashlib, and signs nothing: the least that any signer on
  top of lxml does. Its digests must be those that stand in our signatures.
- signxml writes a XAdES signature of the same profile into the same place. It is given a parsed tree, as it asks for one, and its
  tree is written out again. Its signature has one reference more, to KeyInfo.

Judging: with the fixed signature, lxml must find every reference of ours right. With a real RSA-2048 key, lxml with cryptography
and pyHanko must take it, and xmlsec1, and the original must be as it was around one insertion. What they say of signxml's is
noted.
"""

import hashlib
import re
from base64 import b64decode
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmarks import on_its_own
from benchmarks.packagers import LOCATION, OURS, Contender, RawSign, fixed, real, sealer
from benchmarks.packaging_ratio import measure_corpus, void_ours
from harness.held_folder import held_folder
from harness.validators import MissingValidator
from harness.validators.local_signer import local_signer
from harness.validators.xml import certificate_file, only_signature_added, taken_by_xmlsec1
from harness.xml_invoices import UBL, xml_invoice
from lxml import etree

from batchseal.client.judges.xml import judge_xml
from batchseal.document import Description
from batchseal.formats.xades.names import DS, EXCLUSIVE
from batchseal.formats.xades.xades import Xades
from batchseal.operation import ContentType
from batchseal.signature import SignatureOptions, SignatureType

SIZES = {"20k": 20_000, "200k": 200_000}
ROUNDS = 7
JUDGED = 10  # documents of each contender and size
LXML, SIGNXML = "lxml, unsigned", "signxml"
# What lxml says of a signature in which everything is right but the value, as it is with the fixed one.
VALUE_ALONE = "the signature value is not right"
FIRST_DIGEST = re.compile(rb"<ds:Reference [^>]*>.*?<ds:DigestValue[^>]*>([^<]+)<", re.DOTALL)
EXTENSION = "/".join(
    f"{{{UBL}CommonExtensionComponents-2}}{name}" for name in ("UBLExtensions", "UBLExtension", "ExtensionContent")
)


DESCRIPTION = Description(
    "bench",
    "bench.xml",
    ContentType.TEXT_XML,
    None,
    LOCATION,
    signature_type=SignatureType.XADES,
    options=SignatureOptions(location="ext:ExtensionContent"),
)


def ours(name: str = OURS, **how: int) -> Contender:
    return Contender(name, sealer(Xades(), DESCRIPTION, **how))


def lxml() -> Contender:
    """The digest of each document stands in the place of the signed one."""

    def seal(documents: Sequence[bytes], sign: RawSign) -> list[Sequence[Any]]:
        parser = etree.XMLParser(resolve_entities=False, no_network=True, huge_tree=True, collect_ids=False)
        out: list[Sequence[Any]] = []
        for document in documents:
            tree = etree.fromstring(document, parser).getroottree()
            form = etree.tostring(tree, method="c14n", exclusive=True, with_comments=False)  # faster than write_c14n
            out.append((hashlib.sha256(form).digest(),))
        return out

    return Contender(LXML, seal, share=0.25)


def signxml() -> Contender:
    from cryptography import x509
    from signxml.xades.xades import XAdESDataObjectFormat, XAdESSigner

    chain = [x509.load_der_x509_certificate(local_signer().certificate.dump())]

    class RawKey:
        """What signxml calls of a private key."""

        def __init__(self, sign: RawSign) -> None:
            self._sign = sign

        def sign(self, data: bytes, padding: object, algorithm: object) -> bytes:
            return self._sign(hashlib.sha256(data).digest())

    def seal(documents: Sequence[bytes], sign: RawSign) -> list[Sequence[Any]]:
        signer = XAdESSigner(data_object_format=XAdESDataObjectFormat("", "text/xml"), c14n_algorithm=EXCLUSIVE)
        key: Any = RawKey(sign)
        out: list[Sequence[Any]] = []
        for document in documents:
            root = etree.fromstring(document)
            # This is how it is told the place.
            etree.SubElement(root.find(EXTENSION), f"{{{DS}}}Signature", Id="placeholder", nsmap={"ds": DS})
            signed = signer.sign(root, key=key, cert=chain, always_add_key_value=False)
            out.append((etree.tostring(signed, xml_declaration=True, encoding="UTF-8"),))
        return out

    return Contender(SIGNXML, seal, share=0.1)


def contenders() -> list[Contender]:
    return [ours(), ours(f"{OURS}, one at a time", at_a_time=1), lxml(), signxml()]


def check_same_work(documents: Sequence[bytes], signers: Sequence[Contender]) -> None:
    """Raises RuntimeError unless the digests that stand in signed documents are those of lxml."""
    expected = [digest for (digest,) in lxml().seal(documents, fixed)]
    for contender in signers:
        for digest, segments in zip(expected, contender.seal(documents, fixed), strict=True):
            found = FIRST_DIGEST.search(b"".join(segments))
            if found is None or b64decode(found[1]) != digest:
                raise RuntimeError(f"{contender.name} has signed another digest than that of lxml")


def judge(contender: Contender, documents: Sequence[bytes], folder: Path) -> dict[str, int]:
    """How many of the first documents each judge takes."""
    chosen = documents[:JUDGED]
    folder.mkdir()
    paths = [folder / f"{number}.xml" for number in range(len(chosen))]
    for path, segments in zip(paths, contender.seal(chosen, fixed), strict=True):
        path.write_bytes(b"".join(segments))
    counts = {"documents": len(chosen), "references": sum(judge_xml(path, ()).problem == VALUE_ALONE for path in paths)}
    for path, segments in zip(paths, contender.seal(chosen, real), strict=True):
        path.write_bytes(b"".join(segments))
    counts["untouched"] = sum(
        only_signature_added(original, path.read_bytes()) for original, path in zip(chosen, paths, strict=True)
    )
    counts["lxml"] = sum(judge_xml(path, [local_signer().root_der]).valid for path in paths)
    with suppress(MissingValidator):
        counts["xmlsec1"] = taken_by_xmlsec1(paths, certificate_file(paths[0], folder))
    return counts


def measure(count: int = 640, rounds: int = ROUNDS, *, with_judges: bool = True) -> dict[str, Any]:
    """Figures, rates by size and contender, and what the judges say. There are `count` of 20 KB and a tenth as many of 200 KB."""
    result: dict[str, Any] = {"rates": {}, "judged": {}}
    with held_folder("xades") as folder:
        for name, size_bytes in SIZES.items():
            documents = [
                xml_invoice(number, size_bytes=size_bytes)
                for number in range(1, max(4, count * SIZES["20k"] // size_bytes) + 1)
            ]
            check_same_work(documents[:JUDGED], [ours(), signxml()])
            rates = measure_corpus(documents, rounds, contenders())
            result["rates"][name] = rates
            result[f"xades_{name}_over_lxml"] = round(rates[OURS] / rates[LXML], 2)
            if name == "20k":
                result["xades_20k_over_signxml"] = round(rates[OURS] / rates[SIGNXML], 1)
            if with_judges:
                judged = {one.name: judge(one, documents, folder / f"{name} {one.name}") for one in (ours(), signxml())}
                result["judged"][name] = judged
                if void_ours(judged):
                    raise RuntimeError(f"the figures are void, a judge refuses ours: {judged[OURS]}")
    return result


if __name__ == "__main__":
    on_its_own.run(__doc__, measure, count=640, rounds=ROUNDS, counted="documents of 20 KB; a tenth as many of 200 KB")
