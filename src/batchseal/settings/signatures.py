"""What an entry of the client services file says of signatures: the objects `signature` and `visibleSignature`.

A key in them that is not known is refused: a misspelt level must not mean level B.
"""

import binascii
from base64 import b64decode
from collections.abc import Callable, Mapping
from typing import Any

from batchseal.errors import ApiError, ConfigurationError
from batchseal.signature import (
    NO_DEFAULTS,
    Level,
    SignatureDefaults,
    SignatureOptions,
    SignaturePolicy,
    VisibleDefaults,
    VisibleTexts,
)

LEVELS = tuple(level.name for level in Level)
PACKAGINGS = ("attached", "detached")
# The digests of policy documents that are in use, with their lengths in bytes. Publishers of old policies name SHA-1.
POLICY_DIGESTS = {"sha1": 20, "sha256": 32, "sha384": 48, "sha512": 64}
TEXTS = ("signatureLocation", "signatureTransform", "canonicalTransform", "signerRole")
TRANSFORMS = ("ENVELOPED", "XPATH", "XPATH2_FILTER")
CANONICAL_TRANSFORMS = ("EXCLUSIVE", "EXCLUSIVE_WITH_COMMENTS")
FLAGS = ("coverComments", "evidenceRecord")
KEYS = frozenset({"level", "packaging", "signaturePolicy", *FLAGS, *TEXTS})
POLICY_KEYS = frozenset({"identifier", "digestAlgorithm", "digestValue", "url"})

Wrong = Callable[[str], ConfigurationError]


def read_signature(entry: Any, wrong: Wrong) -> SignatureDefaults:
    """The defaults that `entry` stands for; `wrong` makes the error that names the client service. Raises ConfigurationError."""
    if entry is None:
        return NO_DEFAULTS
    table = _object(entry, "signature", KEYS, wrong)
    texts = {key: _text(table, key, f"signature.{key}", wrong) for key in TEXTS}
    level = _one_of(table, "level", LEVELS, wrong) or Level.B.name
    for key, values in (("signatureTransform", TRANSFORMS), ("canonicalTransform", CANONICAL_TRANSFORMS)):
        _one_of(table, key, values, wrong)
    for key in FLAGS:
        if not isinstance(table.get(key), bool | None):
            raise wrong(f"signature.{key} is neither true nor false")
    return SignatureDefaults(
        Level[level],
        SignatureOptions(
            location=texts["signatureLocation"],
            transform=texts["signatureTransform"],
            canonical=texts["canonicalTransform"],
            covers_comments=bool(table.get("coverComments")),
            policy=_policy(table.get("signaturePolicy"), wrong),
            role=texts["signerRole"],
            detached=_one_of(table, "packaging", PACKAGINGS, wrong) == "detached",
        ),
        evidence_record=bool(table.get("evidenceRecord")),
    )


def read_visible(entry: Any, wrong: Wrong) -> VisibleTexts:
    """The template for visible signatures, with the keys of `visibleSignatureInfo`. Raises ConfigurationError."""
    # What checks it is loaded where a client service has one: it takes regular expressions that hardly any process needs.
    from batchseal.visible.parsing import KEYS as VISIBLE_KEYS
    from batchseal.visible.parsing import check_service

    table = _object(entry, "visibleSignature", frozenset(VISIBLE_KEYS), wrong)
    texts: dict[str, str] = {}
    for key, field in VISIBLE_KEYS.items():
        value = table.get(key)
        if not isinstance(value, str | None):
            raise wrong(f"visibleSignature.{key} is not a text")
        texts[field] = value or ""
    visible = VisibleTexts(**texts)
    try:
        check_service(visible, VisibleDefaults(), "visibleSignature")
    except ApiError as problem:
        raise wrong(problem.cause) from None
    return visible


def _policy(entry: Any, wrong: Wrong) -> SignaturePolicy | None:
    if entry is None:
        return None
    place = "signature.signaturePolicy"
    table = _object(entry, place, POLICY_KEYS, wrong)
    texts = {key: _text(table, key, f"{place}.{key}", wrong) for key in POLICY_KEYS}
    algorithm = texts["digestAlgorithm"] or "sha256"
    if algorithm not in POLICY_DIGESTS:
        raise wrong(f"{place}.digestAlgorithm is not one of {', '.join(POLICY_DIGESTS)}")
    try:
        digest = b64decode(texts["digestValue"], validate=True)
    except (binascii.Error, ValueError):
        digest = b""
    if not texts["identifier"] or len(digest) != POLICY_DIGESTS[algorithm]:
        raise wrong(f"{place} needs an identifier, and a digestValue that is a {algorithm} digest in base64")
    return SignaturePolicy(texts["identifier"], algorithm, digest, texts["url"])


def _object(entry: Any, place: str, keys: frozenset[str], wrong: Wrong) -> Mapping[str, Any]:
    if not isinstance(entry, dict):
        raise wrong(f"{place} is not an object")
    if unknown := sorted(entry.keys() - keys):
        raise wrong(f"{place} has the unknown key {unknown[0]!r}; known are {', '.join(sorted(keys))}")
    return entry


def _text(table: Mapping[str, Any], key: str, place: str, wrong: Wrong) -> str:
    value = table.get(key)
    if value is None:
        return ""
    if not isinstance(value, str) or not value.isprintable():
        raise wrong(f"{place} is not a text in one line")
    return value


def _one_of(table: Mapping[str, Any], key: str, values: tuple[str, ...], wrong: Wrong) -> str:
    value = table.get(key)
    if value is not None and value not in values:
        raise wrong(f"signature.{key} is not one of {', '.join(values)}")
    return value or ""
