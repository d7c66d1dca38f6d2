"""What the generated parts of the pages share: tables in Markdown, and where the sources are."""

from collections.abc import Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown. A cell may hold any text of one paragraph."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cell(text) for text in line) + " |" for line in lines) + "\n"


def cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def code(text: str) -> str:
    """Text that is shown as it is. Empty text stays empty."""
    return f"`{text}`" if text else ""


def plain(text: str) -> str:
    """A text of the code as Markdown that shows it unchanged, except that flags, addresses and file names are set as code."""
    return " ".join(_word(word) for word in text.split())


def _word(word: str) -> str:
    core = word.rstrip(".,;:)")
    opened = core.lstrip("(")
    is_code = opened.startswith(("--", "/", "$", "http", "batchseal_")) or opened.endswith((".json", ".toml"))
    if is_code and len(opened) > 1:
        return word.replace(opened, f"`{opened}`", 1)
    return word.replace("\\", "\\\\").replace("*", "\\*").replace("_", "\\_").replace("<", "&lt;")
