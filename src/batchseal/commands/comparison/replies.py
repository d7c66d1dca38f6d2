"""What differs between two answers to the same request: the status, the fields, their types and their values.

A client reads fields by name. So a field that is missing, or has another type or value, can be noticed; one that is new is not,
and is only noted. Some values differ at each call, such as ids and times: of these only the type counts.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from batchseal.commands.comparison.findings import Finding, compared
from batchseal.commands.comparison.sides import Answer

# By the last part of a path: values that are another one at each call, or that belong to an installation.
OWN_VALUES = frozenset(
    {
        *(
            "id",
            "internalId",
            "folderId",
            "executionTime",
            "creationDate",
            "receptionDate",
            "storageEndDate",
            "host",
            "port",
        ),
        *("signedContent", "additionalContentLength", "access_token", "jti"),
    }
)
# Texts for people: that there is one counts, and not what it says.
TEXTS = frozenset(
    {"causeMessage", "detail", "title", "errorCodeDescription", "error_description", "message", "path", "timestamp"}
)
MAX_VALUE_CHARACTERS = 120
LISTED = re.compile(r"\[\d+\]")


def answer_findings(place: str, old: Answer, new: Answer, own: Mapping[str, str]) -> list[Finding]:
    """What differs between two answers. `own` holds what stands for each reference, which is another one on each side."""
    facts = [
        compared(place, {"HTTP status": shown_status(old)}, {"HTTP status": shown_status(new)}),
        compared(place, {"type of the reply": old.media_type}, {"type of the reply": new.media_type}),
        compared(place, _headers(old), _headers(new), extra_counts=False),
    ]
    findings = [one for part in facts for one in part]
    before, now = old.json(), new.json()
    if before is not None and now is not None:
        findings += field_findings(place, before, now, own)
    if old.status == new.status == 200 and not says_error(old) and says_error(new):
        what = 'the word "error" in lower case, at which a known client gives up'
        findings.append(Finding(place, what, "no", "yes"))
    return findings


def shown_status(answer: Answer) -> str:
    return str(answer.status) if answer.status else answer.problem


def field_findings(place: str, old: Any, new: Any, own: Mapping[str, str]) -> list[Finding]:
    """What differs between two JSON values."""
    before, now = fields_of(old, own), fields_of(new, own)
    findings = []
    for path in dict.fromkeys((*before, *now)):
        (kind, value), (new_kind, new_value) = before.get(path, ("absent", "")), now.get(path, ("absent", ""))
        name = path.rpartition(".")[2]
        if kind == "absent" or (kind == "null" and new_kind != "absent"):
            if kind != new_kind:
                findings.append(
                    Finding(place, f"field {path}", kind, _shown(new_kind, new_value, name), counts=kind == "null")
                )
        elif kind != new_kind:
            # For most clients an absent field is the same as null.
            counts = not (kind == "null" and new_kind == "absent")
            findings.append(Finding(place, f"field {path}", _shown(kind, value, name), new_kind, counts))
        elif value != new_value and name not in OWN_VALUES:
            findings.append(
                Finding(place, f"field {path}", _shown(kind, value, ""), _shown(kind, new_value, ""), name not in TEXTS)
            )
    return findings


def fields_of(value: Any, own: Mapping[str, str], path: str = "") -> dict[str, tuple[str, str]]:
    """Each field of a JSON value, by its path: its type and its value as a text."""
    return dict(_fields(value, own, path))


def _fields(value: Any, own: Mapping[str, str], path: str) -> Iterator[tuple[str, tuple[str, str]]]:
    if isinstance(value, dict):
        yield path or "(whole)", ("object", "")
        for key, below in value.items():
            yield from _fields(below, own, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        yield path or "(whole)", ("list", str(len(value)))
        for number, below in enumerate(value):
            yield from _fields(below, own, f"{path}[{number}]")
    else:
        kind = {bool: "true or false", int: "number", float: "number", str: "text"}.get(type(value), "null")
        text = str(value)
        for reference, stands_for in own.items():
            text = text.replace(reference, stands_for)
        yield path or "(whole)", (kind, text)


def _shown(kind: str, value: str, name: str) -> str:
    return kind if name in OWN_VALUES or kind in ("object", "null", "absent") else f"{value[:MAX_VALUE_CHARACTERS]}"


def _headers(answer: Answer) -> dict[str, str]:
    """Headers that clients act on: whether they are there."""
    names = ("location", "retry-after", "www-authenticate")
    return {f"header {name}": "yes" for name in names if name in answer.headers}


def says_error(answer: Answer) -> bool:
    """Whether the word stands anywhere in a reply but in the signed documents."""
    value = answer.json()
    if value is None:
        return b"error" in answer.body
    return any(
        "error" in text
        for path, (_, found) in fields_of(value, {}).items()
        if path.rpartition(".")[2] != "signedContent"
        for text in (found, LISTED.sub("", path))
    )


def documents_of(answer: Answer) -> list[Mapping[str, Any]]:
    """The entries of documentList in a reply; none where it is not the reply to a signature."""
    value = answer.json()
    listed = value.get("documentList") if isinstance(value, dict) else None
    return [one for one in listed if isinstance(one, dict)] if isinstance(listed, list) else []
