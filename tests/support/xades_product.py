"""Every combination of transform, canonical form, location, encoding and key over several documents, judged by code of others.

    make xades-product DOCS=FOLDER ARGS="--largest 20000"

Two documents are made here; FOLDER may have further ones, of which those up to so many bytes are taken. Each result is judged by
the JDK, by xmlsec1 unless the key is for RSASSA-PSS, which it does not know, and by lxml with cryptography.
"""

import argparse
import itertools
import tempfile
import time
from base64 import b64decode
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, utils
from harness.validators.xml import jdk_verify, xmlsec1_verify
from harness.xml_invoices import xml_invoice
from lxml import etree
from tests.support.signing_keys import signer
from tests.support.xml_documents import (
    CANONICAL,
    DS,
    ENCODINGS,
    INVOICE,
    TRANSFORMS,
    canonical,
    one_insertion,
    parsed,
    signed,
    wanted,
    without_last_signature,
)

KEYS = ("rsa", "pss", "p256")
PROPERTIES = "{http://uri.etsi.org/01903/v1.3.2#}SignedProperties"


@dataclass(frozen=True)
class Case:
    path: Path
    original: bytes
    key: str
    covers_comments: bool


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=Path, help="a folder with XML files")
    parser.add_argument(
        "--largest", type=int, default=20_000, help="bytes of the largest of them (default: %(default)s)"
    )
    options = parser.parse_args()
    began, counts = time.monotonic(), Counter[str]()
    for name, text in documents(options.documents, options.largest):
        with tempfile.TemporaryDirectory(prefix="batchseal-product-") as folder:
            wrong = judge(product(text, Path(folder)), certificates(Path(folder)), counts)
        counts["documents"] += 1
        for problem in wrong:
            print(f"{name}: {problem}", flush=True)
        counts["wrong"] += len(wrong)
    print(f"{dict(counts)}, {time.monotonic() - began:.0f} s")
    return int(counts["wrong"] > 0)


def documents(folder: Path | None, largest: int) -> Iterator[tuple[str, str]]:
    yield "awkward", INVOICE
    yield "UBL", xml_invoice(1).decode()
    for path in sorted(folder.glob("*.xml")) if folder else ():
        if path.stat().st_size <= largest:
            yield path.name, path.read_bytes().decode("utf-8-sig")


def product(text: str, folder: Path) -> list[Case]:
    """The signed files of one document, which is in UTF-8."""
    cases = []
    for number, (transform, form, at, encoding, key) in enumerate(
        itertools.product(TRANSFORMS, CANONICAL, locations(text), ENCODINGS, KEYS)
    ):
        original, path = in_encoding(text, encoding), folder / f"{number}.xml"
        covers = form != "EXCLUSIVE" and number % 2 == 0
        what = wanted(transform=transform, canonical=form, at=at, covers_comments=covers)
        path.write_bytes(signed(original, what, signer(key)))
        cases.append(Case(path, original, key, covers))
    return cases


def in_encoding(text: str, encoding: str) -> bytes:
    """With its declaration, and with references for characters that the encoding lacks."""
    declared = encoding.removesuffix(" with a mark")
    codec = ENCODINGS[encoding]
    if text.startswith("<?xml"):
        text = f'<?xml version="1.0" encoding="{declared}"?>' + text.partition("?>")[2]
    else:
        text = f'<?xml version="1.0" encoding="{declared}"?>' + text
    return text.encode(codec, "xmlcharrefreplace")


def locations(text: str) -> tuple[str, str, str]:
    """The root, an element by its name, and one by its path."""
    root = parsed(text.encode()).getroot()
    elements = [one for one in root.iter() if isinstance(one.tag, str) and one is not root]
    names = Counter(etree.QName(one).localname for one in elements)
    once = next(one for one in elements if names[etree.QName(one).localname] == 1)
    return "", named(once), path_of(elements[-1])


def named(element: Any) -> str:
    local: str = etree.QName(element).localname
    return f"{element.prefix}:{local}" if element.prefix else local


def path_of(element: Any) -> str:
    """Steps with positions, of elements of the same name."""
    steps: list[str] = []
    while element is not None:
        position = 1 + sum(1 for _ in element.itersiblings(element.tag, preceding=True))
        steps.append(f"{named(element)}[{position}]" if element.getparent() is not None else named(element))
        element = element.getparent()
    return "/" + "/".join(reversed(steps))


def certificates(folder: Path) -> dict[str, Path]:
    paths = {key: folder / f"{key}.pem" for key in KEYS}
    for key, path in paths.items():
        path.write_bytes(signer(key).pem(0))
    return paths


def judge(cases: Sequence[Case], pems: dict[str, Path], counts: Counter[str]) -> list[str]:
    """What each judge found wrong. `counts` gets the number of files that each has seen."""
    wrong = []
    verdicts = jdk_verify([(one.path, pems[one.key]) for one in cases])
    wrong += [f"JDK: {one.path.name} {verdicts.get(one.path)}" for one in cases if verdicts.get(one.path) != [True]]
    known = [one for one in cases if one.key != "pss"]
    with ThreadPoolExecutor(2) as pool:
        said = list(pool.map(lambda one: xmlsec1_verify(one.path, pems[one.key]), known))
    wrong += [f"xmlsec1: {one.path.name} {text}" for one, text in zip(known, said, strict=True) if text]
    for one in cases:
        try:
            judge_here(one)
        except (AssertionError, InvalidSignature) as problem:
            wrong.append(f"lxml and cryptography: {one.path.name} {problem!r}")
    counts.update({"jdk": len(cases), "xmlsec1": len(known), "cryptography": len(cases)})
    return wrong


def judge_here(case: Case) -> None:
    """By lxml and cryptography. The original must be untouched around one insertion. Raises AssertionError, InvalidSignature."""
    content = case.path.read_bytes()
    one_insertion(case.original, content)
    before, after = parsed(case.original), without_last_signature(content)
    assert canonical(before, comments=True) == canonical(after, comments=True), "another document without the signature"
    signature = list(parsed(content).iter(f"{DS}Signature"))[-1]
    about, properties = signature.findall(f"{DS}SignedInfo/{DS}Reference")
    digest = sha256(canonical(before, comments=case.covers_comments)).digest()
    assert b64decode(about.findtext(f"{DS}DigestValue")) == digest, "the digest of the document"
    digest = sha256(exclusive(signature.find(f".//{PROPERTIES}"))).digest()
    assert b64decode(properties.findtext(f"{DS}DigestValue")) == digest, "the digest of the properties"
    info, value = exclusive(signature.find(f"{DS}SignedInfo")), b64decode(signature.findtext(f"{DS}SignatureValue"))
    key: Any = x509.load_der_x509_certificate(b64decode(signature.findtext(f".//{DS}X509Certificate"))).public_key()
    algorithm = hashes.SHA256()
    if case.key == "p256":
        half = len(value) // 2
        raw = utils.encode_dss_signature(int.from_bytes(value[:half], "big"), int.from_bytes(value[half:], "big"))
        key.verify(raw, info, ec.ECDSA(algorithm))
    elif case.key == "pss":
        key.verify(value, info, padding.PSS(padding.MGF1(algorithm), algorithm.digest_size), algorithm)
    else:
        key.verify(value, info, padding.PKCS1v15(), algorithm)


def exclusive(element: Any) -> bytes:
    return bytes(etree.tostring(element, method="c14n", exclusive=True, with_tail=False, with_comments=False))


if __name__ == "__main__":
    raise SystemExit(main())
