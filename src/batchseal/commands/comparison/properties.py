"""What can be seen of the signatures in a signed file: their type, algorithms, attributes, level and appearance.

Each signature is a table of texts by name. What differs at each signature (times, values) is left out.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from batchseal.client.judges.cms import judge_cms
from batchseal.client.judges.pdf import judge_pdf
from batchseal.client.judges.references import DS, XADES, signatures
from batchseal.client.judges.verdicts import Verdict, keep_library_logs_quiet, name_of
from batchseal.client.judges.xml import judge_xml

Properties = dict[str, str]
# What an integration does not depend on, but an operator wants to know.
NOTED = ("name of the field", "reserved bytes", "serial number", "bytes added")
NONE = "none"


def properties_of(path: Path, original: bytes) -> list[Properties]:
    """A table for the file itself, then one for each signature. Never raises: what cannot be read is a property too."""
    keep_library_logs_quiet()
    content = path.read_bytes()
    try:
        if content[:1] == b"\x30":
            return _of_cms(path, content, original)
        if content[:1024].lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<":
            return _of_xml(path, content, original)
        return _of_pdf(path, content, original)
    except Exception as problem:  # a broken file can raise any exception in a parser
        return [{"the file": f"it cannot be read ({type(problem).__name__}: {problem})"}]


def _file(kind: str, verdict: Verdict, count: int, **more: str) -> Properties:
    problem = verdict.problem or NONE
    return {
        "kind of file": kind,
        "signatures": str(count),
        "level": verdict.level or NONE,
        "what is wrong": problem,
        **more,
    }


# --- PDF ------------------------------------------------------------------------------------------------------------


def _of_pdf(path: Path, content: bytes, original: bytes) -> list[Properties]:
    from pyhanko.pdf_utils.reader import PdfFileReader

    with path.open("rb") as file:
        reader = PdfFileReader(file, strict=False)
        verdict = judge_pdf(path, reader, ())
        found = [_of_pdf_signature(reader, one) for one in reader.embedded_signatures]
    kept = "yes" if content.startswith(original) else "no"
    more = {"begins with the original": kept, "bytes added": str(len(content) - len(original))}
    return [_file("PDF", verdict, len(found), **more), *found]


def _of_pdf_signature(reader: Any, signature: Any) -> Properties:
    dictionary = signature.sig_object
    texts = {
        name: str(dictionary.get(f"/{name}", NONE))
        for name in ("Filter", "SubFilter", "Reason", "Location", "Name", "ContactInfo")
    }
    return {
        "type": str(signature.sig_object_type),
        **texts,
        **_of_signer(signature.signed_data, signature.signer_info),
        "time in the dictionary": "yes" if "/M" in dictionary else "no",
        "certifies": _certifies(dictionary),
        "appearance": _appearance(reader, signature.sig_field),
        "name of the field": str(signature.field_name),
        "reserved bytes": str(len(signature.pkcs7_content)),
    }


def _certifies(dictionary: Any) -> str:
    """Which changes a certifying signature allows (ISO 32000-2 12.8.2.2)."""
    for reference in dictionary.get("/Reference", ()):
        reference = reference.get_object()
        if str(reference.get("/TransformMethod")) == "/DocMDP":
            return f"level {reference.get('/TransformParams', {}).get('/P', 2)}"
    return "no"


def _appearance(reader: Any, field: Any) -> str:
    """The page and the box of a visible signature, in points from the lower left corner."""
    box = [float(number) for number in field.get("/Rect", ())]
    if len(box) != 4 or box[0] == box[2] or box[1] == box[3]:
        return "invisible"
    page = field.raw_get("/P") if "/P" in field else None
    number = next((n for n, one in enumerate(_pages(reader), 1) if page is not None and one == page.reference), 0)
    return f"page {number or '?'}, " + " ".join(f"{edge:g}" for edge in (round(one, 1) for one in box))


def _pages(reader: Any) -> Iterable[Any]:
    """The references of the pages, in order."""
    for number in range(int(reader.root["/Pages"]["/Count"])):
        yield reader.find_page_for_modification(number)[0].reference


# --- CMS ------------------------------------------------------------------------------------------------------------


def _of_cms(path: Path, content: bytes, original: bytes) -> list[Properties]:
    from asn1crypto import cms

    data = cms.ContentInfo.load(content)["content"]
    inside = data["encap_content_info"]["content"].native
    found = [_of_signer(data, one) for one in data["signer_infos"]]
    folder = path.parent / f"{path.name}.original"
    folder.mkdir(exist_ok=True)
    (folder / path.stem).write_bytes(original)
    verdict = judge_cms(path, (), folder)
    packaging = "detached" if inside is None else "attached"
    kept = "yes" if inside in (None, original) else "no"
    return [_file("CMS", verdict, len(found), **{"packaging": packaging, "holds the original": kept}), *found]


def _of_signer(data: Any, signer: Any) -> Properties:
    from asn1crypto import x509

    certificates = [one.chosen for one in data["certificates"] if isinstance(one.chosen, x509.Certificate)]
    serial = signer["sid"].chosen["serial_number"].native if signer["sid"].name == "issuer_and_serial_number" else None
    own = next((one for one in certificates if one.serial_number == serial), certificates[0] if certificates else None)
    return {
        "digest algorithm": signer["digest_algorithm"]["algorithm"].native,
        "signature algorithm": _signature_algorithm(signer["signature_algorithm"]),
        "key": _key(own) if own is not None else NONE,
        "signer": name_of(own) if own is not None else NONE,
        "certificates": str(len(certificates)),
        "serial number": f"{own.serial_number:x}" if own is not None else NONE,
        "signed attributes": _attributes(signer["signed_attrs"]),
        "unsigned attributes": _attributes(signer["unsigned_attrs"]),
    }


def _signature_algorithm(algorithm: Any) -> str:
    name = str(algorithm["algorithm"].native)
    if name == "rsassa_pss":
        return f"{name} with {algorithm['parameters']['hash_algorithm']['algorithm'].native}"
    return name


def _key(certificate: Any) -> str:
    key = certificate.public_key
    return f"EC {key.curve[1]}" if key.algorithm == "ec" else f"{key.algorithm.upper()} {key.bit_size}"


def _attributes(attributes: Any) -> str:
    names = [] if attributes.native is None else [str(one["type"].native) for one in attributes]
    return ", ".join(sorted(names)) or NONE


# --- XML ------------------------------------------------------------------------------------------------------------


def _of_xml(path: Path, content: bytes, original: bytes) -> list[Properties]:
    verdict = judge_xml(path, ())
    found = [_of_xml_signature(one) for one in signatures(content)]
    return [_file("XML", verdict, len(found), **{"bytes added": str(len(content) - len(original))}), *found]


def _of_xml_signature(signature: Any) -> Properties:
    from asn1crypto import x509

    info = signature.find(f"{DS}SignedInfo")
    properties = {
        "place": _place(signature),
        "canonicalization": _algorithm(info.find(f"{DS}CanonicalizationMethod")),
        "signature algorithm": _algorithm(info.find(f"{DS}SignatureMethod")),
        "key info": _names(signature.find(f"{DS}KeyInfo")),
        "signed properties": _names(signature.find(f".//{XADES}SignedSignatureProperties")),
        "data object properties": _names(signature.find(f".//{XADES}SignedDataObjectProperties")),
        "unsigned properties": _names(signature.find(f".//{XADES}UnsignedSignatureProperties")),
        "policy": (signature.findtext(f".//{XADES}SigPolicyId/{XADES}Identifier") or NONE).strip(),
    }
    for number, reference in enumerate(info.findall(f"{DS}Reference"), 1):
        steps = [_algorithm(one) for one in reference.iter(f"{DS}Transform")]
        about = "the document" if reference.get("URI") == "" else (reference.get("Type") or "a part").rpartition("#")[2]
        digest = _algorithm(reference.find(f"{DS}DigestMethod"))
        properties[f"reference {number}"] = f"{about}: {' then '.join(steps) or 'no transform'}; {digest}"
    texts = [text for one in signature.iter(f"{DS}X509Certificate") if (text := one.text)]
    properties["certificates"] = str(len(texts))
    if texts:
        from base64 import b64decode

        own = x509.Certificate.load(b64decode(texts[0]))
        properties |= {"key": _key(own), "signer": name_of(own), "serial number": f"{own.serial_number:x}"}
    return properties


def _place(element: Any) -> str:
    """The names of the elements from the root down to the one that holds the signature."""
    above = [_local(one) for one in element.iterancestors()]
    return "/" + "/".join(reversed(above))


def _names(element: Any) -> str:
    return NONE if element is None else ", ".join(_local(one) for one in element if isinstance(one.tag, str)) or NONE


def _local(element: Any) -> str:
    return str(element.tag).rpartition("}")[2]


def _algorithm(element: Any) -> str:
    return NONE if element is None else str(element.get("Algorithm", NONE)).rpartition("/")[2]
