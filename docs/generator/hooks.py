"""What the builder of the pages calls. Comments in a page, each in a line of its own, are replaced:

- `<!-- generate: NAME -->` by what a function of GENERATED returns,
- `<!-- include: FILE LANGUAGE -->` by the content of a file of the project, as a block of code,
- `<!-- section: FILE TITLE -->` by the section of a Markdown file that has this title, without it.

`{{ default NAME }}` becomes the default of a setting. So no fact that stands elsewhere is written a second time.
"""

import re
from pathlib import Path
from typing import Any

from docs.generator import errors, metrics, services, settings, sizing
from docs.generator.texts import ROOT

from batchseal.settings.load import OPTIONS

GENERATED = {
    "settings": settings.settings,
    "errors": errors.errors,
    "error-table": errors.error_table,
    "sign-errors": errors.sign_errors,
    "services-keys": services.services_keys,
    "metrics": metrics.metrics,
    "loads": sizing.loads,
}
GENERATE = re.compile(r"^<!-- generate: ([\w-]+) -->$", re.MULTILINE)
INCLUDE = re.compile(r"^<!-- include: (\S+) (\w+) -->$", re.MULTILINE)
SECTION = re.compile(r"^<!-- section: (\S+) (.+) -->$", re.MULTILINE)
DEFAULT = re.compile(r"\{\{ default ([\w-]+) \}\}")
# Files that pages link to, and where they come from.
BESIDE = {name: ROOT / "docs" / name for name in services.FILES} | {
    f"operator/{name}.png": ROOT / "docs" / "operator" / f"{name}.png" for name in ("overview",)
}


def filled(text: str) -> str:
    """The Markdown of a page, complete. Raises KeyError for an unknown name, OSError for a missing file."""
    text = GENERATE.sub(lambda found: GENERATED[found[1]](), text)
    text = SECTION.sub(lambda found: section(found[1], found[2]), text)
    text = INCLUDE.sub(lambda found: f"```{found[2]}\n{(ROOT / found[1]).read_text('utf-8').rstrip()}\n```", text)
    return DEFAULT.sub(lambda found: f"{OPTIONS[found[1].replace('-', '_')].default:,}", text)


def section(name: str, title: str) -> str:
    """The text under a heading of a file, up to the next heading. Raises KeyError if there is no such heading."""
    text = (ROOT / name).read_text("utf-8")
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#+ |\Z)", text, re.MULTILINE | re.DOTALL)
    if found is None:
        raise KeyError(f"{name} has no section {title!r}")
    return found[1].strip("\n")


def on_page_markdown(markdown: str, **_: Any) -> str:
    return filled(markdown)


def on_files(files: Any, config: Any, **_: Any) -> Any:
    """Adds the files of BESIDE to the site."""
    from properdocs.structure.files import File  # only the builder has it

    for address, path in BESIDE.items():
        files.append(File.generated(config, address, abs_src_path=str(path)))
    return files


def on_post_build(config: Any, **_: Any) -> None:
    """Removes what the builder adds for sites on the internet."""
    for name in ("sitemap.xml", "sitemap.xml.gz", "404.html"):
        Path(config["site_dir"], name).unlink(missing_ok=True)
