"""The tables of errors: the code's own words and statuses, with the remedies that are written in `docs/remedies.toml`."""

import tomllib

from docs.generator.texts import ROOT, plain, table

from batchseal.errors import ApiError, UpstreamError
from batchseal.operation import SignError

REMEDIES = ROOT / "docs" / "remedies.toml"


def remedies() -> dict[str, dict[str, str]]:
    """The remedies of codes and of signErrors."""
    return tomllib.loads(REMEDIES.read_text("utf-8"))


def kinds(base: type[ApiError] = ApiError) -> dict[str, type[ApiError]]:
    """The error of each code that a caller can get, by the code; "none" stands for the one without a code."""
    found: dict[str, type[ApiError]] = {}
    for kind in base.__subclasses__():
        found[kind.code or "none"] = kind
        found |= kinds(kind)
    return found


def order(name: str) -> tuple[bool, list[int], str]:
    """The vendor's codes by their numbers, then the others."""
    parts = name.split(".")
    is_ours = not all(part.isdigit() for part in parts)
    return is_ours, [] if is_ours else [int(part) for part in parts], name


def errors() -> str:
    """A section for each code."""
    written = remedies()["code"]
    lines: list[str] = []
    for name in sorted(kinds(), key=order):
        kind = kinds()[name]
        title = "Without a code" if name == "none" else name
        lines += [f"### `{title}`" if name != "none" else f"### {title}", ""]
        vendor = (
            f", with `--compat.vendor-status-codes` {kind.vendor_status}" if kind.vendor_status != kind.status else ""
        )
        lines += [f"**{plain(kind.description())}** HTTP status {kind.status}{vendor}.", "", written[name], ""]
    return "\n".join(lines)


def error_table() -> str:
    """All codes at one look."""
    rows = []
    for name in sorted(kinds(), key=order):
        kind = kinds()[name]
        anchor = "without-a-code" if name == "none" else "".join(c for c in name if c.isalnum() or c == "_")
        rows.append([f"[{name}](#{anchor})", str(kind.status), str(kind.vendor_status), plain(kind.description())])
    return table(["`errorCode`", "HTTP status", "original's", "`errorCodeDescription`"], rows)


def sign_errors() -> str:
    """Why a document of a batch was not signed, and what leads to it."""
    written = remedies()["signError"]
    reasons: dict[str, list[str]] = {}
    for kind in upstream_kinds():
        reasons.setdefault(kind.sign_error.label, []).append(plain(kind.description()))
    lines = []
    for label in dict.fromkeys(error.label for error in SignError):
        lines += [f"### `{label}`", "", written[label], ""]
        if found := reasons.get(label):
            lines += ["It comes of this:", "", *(f"- {reason}" for reason in found), ""]
    return "\n".join(lines)


def upstream_kinds(base: type[UpstreamError] = UpstreamError) -> list[type[UpstreamError]]:
    """Everything that the signing service, an authority or a responder may do wrong."""
    found = []
    for kind in base.__subclasses__():
        found += [kind, *upstream_kinds(kind)]
    return found
