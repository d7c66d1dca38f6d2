"""Judges CAdES signatures for `batchseal verify`, with pyHanko: a CMS that holds its document, or one beside it."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from batchseal.client.judges.verdicts import Verdict, name_of, trust_in

DETACHED_SUFFIX = ".p7s"


def judge_cms(path: Path, roots: Sequence[bytes], originals: Path | None) -> Verdict:
    """The verdict on one file. `originals` is the folder of the originals of detached signatures; None: that of the file."""
    from asn1crypto import cms
    from pyhanko.sign.validation.generic_cms import async_validate_detached_cms

    info = cms.ContentInfo.load(path.read_bytes(), strict=True)
    if info["content_type"].native != "signed_data":
        return Verdict(path, False, problem="the CMS holds no signature")
    data = info["content"]
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
    status = asyncio.run(async_validate_detached_cms(content, data, trust_in(roots)))
    attributes = {attribute["type"].native for attribute in signer["signed_attrs"]}
    problems = []
    if not (status.intact and status.valid):
        problems.append("the signature is broken")
    if not {"signing_certificate_v2", "signing_time"} <= attributes:
        problems.append("a signed attribute of the profile is missing")
    stamp = status.timestamp_validity
    if stamp is not None and not (stamp.intact and stamp.valid):
        problems.append("the time stamp is broken")
    if roots and not problems and not status.trusted:
        problems.append("the certificate does not lead to the root")
    if roots and not problems and stamp is not None and not stamp.trusted:
        problems.append("the time stamp's certificate does not lead to the root")
    level = "B" if stamp is None else "T"
    return Verdict(path, not problems, name_of(status.signing_cert), coverage, "; ".join(problems), 1, level=level)
