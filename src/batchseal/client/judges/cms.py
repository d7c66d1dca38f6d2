"""Judges CAdES signatures for `batchseal verify`, with pyHanko: a CMS that holds its document, or one beside it.

`unsigned_attributes` finds what levels above B rest on, which pyHanko does not judge.
"""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from batchseal.client.judges.levels import judge_levels
from batchseal.client.judges.tokens import is_known
from batchseal.client.judges.unsigned_attributes import SIGNER_FIELDS, UnsignedAttributes
from batchseal.client.judges.verdicts import Verdict, name_of, trust_in

DETACHED_SUFFIX = ".p7s"
# The fields of RFC 5652 5.1 and 5.3, by their names in asn1crypto.
SIGNED_DATA = ("version", "digest_algorithms", "encap_content_info", "certificates", "crls", "signer_infos")
SIGNER_INFO = (*SIGNER_FIELDS, "unsigned_attrs")


def judge_cms(path: Path, roots: Sequence[bytes], originals: Path | None) -> Verdict:
    """The verdict on one file. `originals` is the folder of the originals of detached signatures; None: that of the file."""
    from asn1crypto import cms
    from pyhanko.sign.general import extract_certificate_info
    from pyhanko.sign.validation.generic_cms import async_validate_detached_cms

    info = cms.ContentInfo.load(path.read_bytes(), strict=True)
    if info["content_type"].native != "signed_data":
        return Verdict(path, False, problem="the CMS holds no signature")
    whole = data = info["content"]
    content, coverage = data["encap_content_info"], "attached"
    if content["content"].native is None:
        original = (originals or path.parent) / path.name.removesuffix(DETACHED_SUFFIX)
        if original == path or not original.is_file():
            return Verdict(path, False, problem=f"the signature is detached, and {original} is not there (--originals)")
        content, coverage = original.read_bytes(), f"the file {original.name}"
    else:
        # pyHanko takes the content apart from the signature, which is the same with and without it.
        content, data = bytes(content["content"]), data.copy()
        data["encap_content_info"] = {"content_type": "data"}
    if len(data["signer_infos"]) != 1:
        return Verdict(path, False, problem=f"{len(data['signer_infos'])} signers, one is judged")
    (signer,) = data["signer_infos"]
    if not (is_known(whole, SIGNED_DATA) and is_known(signer, SIGNER_INFO)):
        return Verdict(path, False, problem="the CMS has parts that are not known")
    leaf = extract_certificate_info(whole).signer_cert
    reached = judge_levels(leaf.dump(), UnsignedAttributes(whole, content).read(), roots)
    # Of pyHanko's status, only what it says of the signature is used: of time stamps more is known here.
    trust = trust_in(roots, reached.signed_at, reached.certificates)
    status = asyncio.run(async_validate_detached_cms(content, data, trust))
    attributes = {attribute["type"].native for attribute in signer["signed_attrs"]}
    problems = []
    if not (status.intact and status.valid):
        problems.append("the signature is broken")
    if not {"signing_certificate_v2", "signing_time"} <= attributes:
        problems.append("a signed attribute of the profile is missing")
    problems.extend(reached.findings.broken)
    if roots and not problems and not status.trusted:
        problems.append("the certificate does not lead to the root")
    note = "; ".join(reached.findings.lacking)
    return Verdict(path, not problems, name_of(leaf), coverage, "; ".join(problems), 1, note, level=reached.level)
