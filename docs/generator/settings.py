"""The page of all settings, from their declarations."""

from collections.abc import Iterator
from dataclasses import MISSING, Field
from typing import Any

from docs.generator.texts import plain

from batchseal.settings.declaration import heading_of
from batchseal.settings.load import OPTIONS, environment_names, modern_flag


def settings() -> str:
    """One section for each group, one heading for each setting, so that the search finds each."""
    lines: list[str] = []
    for group in dict.fromkeys(option.metadata["group"] for option in OPTIONS.values()):
        lines += [
            f"## {heading_of(group)} {{: #{group.replace(' ', '-').replace(chr(39), '')} }}",
            "",
        ]
        for name, option in OPTIONS.items():
            if option.metadata["group"] == group:
                lines += entry(name, option)
    return "\n".join(lines)


def entry(name: str, option: "Field[Any]") -> Iterator[str]:
    """What a setting does, its values, its default and its other names."""
    flag = modern_flag(name)
    yield f"### `{flag}` {{: #{flag.removeprefix('--')} }}"
    yield ""
    text = plain(option.metadata["help"])
    yield text[:1].upper() + text[1:] + "."
    yield ""
    if choices := option.metadata["choices"]:
        yield "- Values: " + ", ".join(f"`{choice}`" for choice in choices)
    yield f"- Default: {default_of(option)}"
    if dotted := option.metadata["dotted"]:
        yield f"- Also named `--{dotted}`"
    yield "- Environment: " + ", ".join(f"`{one}`" for one in dict.fromkeys(environment_names(name)))
    yield ""


def default_of(option: "Field[Any]") -> str:
    """The default, as `--help` prints it."""
    if shown := option.metadata["shown"]:
        return plain(shown)
    default = "" if option.default is MISSING else option.default
    text = str(default).lower() if isinstance(default, bool) else str(default)
    return f"`{text}`" if text else "none"
