"""The documentation: complete, built without a warning, with links that lead somewhere and nothing from elsewhere."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest
from docs.generator import errors, metrics, services, settings
from docs.generator.hooks import filled
from harness import tools
from harness.tools import ROOT
from lxml import html
from tests.support.documentation import BLOCK, PAGES, blocks, pages

from batchseal.cli import COMMANDS
from batchseal.errors import ApiError
from batchseal.operation import SignError
from batchseal.settings.load import OPTIONS, environment_names, modern_flag
from batchseal.settings.services_files import CONFIG_KEYS, OWN_KEYS
from batchseal.system.telemetry.declared import DECLARED

BUILDER = "documentation tools"
FLAG = re.compile(r"(?<![\w-])--[a-z][A-Za-z.-]*[A-Za-z]")
# Flags of programs that are not ours, in the words of the pages.
OF_OTHERS = {"--read-only", "--cap-drop", "--security-opt", "--memory", "--stop-timeout", "--entrypoint"}
OF_OTHERS |= {"--profile", "--format", "--help", "--version", "--publish"}
# `batchseal compare` makes these for each of the two services.
OF_TWO = {f"--{side}{end}" for side in ("old", "new") for end in ("", "-token-url")}


# --- what is generated --------------------------------------------------------------------------------------------------


def test_every_setting_is_there_with_its_names_and_its_default() -> None:
    text = settings.settings()
    for name, option in OPTIONS.items():
        entry = text.partition(f"### `{modern_flag(name)}` ")[2].partition("\n### ")[0]
        assert all(f"`{variable}`" in entry for variable in environment_names(name)), name
        assert not option.metadata["dotted"] or f"`--{option.metadata['dotted']}`" in entry, name
        assert "- Default: " in entry, name


def test_every_code_has_a_remedy_and_no_remedy_is_left_over() -> None:
    assert errors.remedies()["code"].keys() == errors.kinds().keys()
    assert ApiError.code in errors.kinds()
    assert all(len(text) > 20 for text in errors.remedies()["code"].values())


def test_every_sign_error_has_a_remedy() -> None:
    assert errors.remedies()["signError"].keys() == {error.label for error in SignError}
    assert all(kind.sign_error.label in errors.remedies()["signError"] for kind in errors.upstream_kinds())


def test_a_code_of_its_own_belongs_to_one_error() -> None:
    codes = [kind.code for kind in _kinds(ApiError) if "code" in vars(kind)]
    assert len(codes) == len(set(codes)), "the page of errors would show only one of them"


def _kinds(base: type[ApiError]) -> Iterator[type[ApiError]]:
    for kind in base.__subclasses__():
        yield kind
        yield from _kinds(kind)


def test_every_key_of_the_files_of_client_services_is_there() -> None:
    text = services.services_keys()
    assert all(re.search(rf"^- `{key}`", text, re.MULTILINE) for key in (*CONFIG_KEYS, *OWN_KEYS))


def test_every_metric_is_there() -> None:
    text = metrics.metrics()
    assert all(f"`{name}`" in text for name in DECLARED)


# --- what is written ----------------------------------------------------------------------------------------------------


def test_every_page_is_in_the_navigation() -> None:
    assert sorted(pages()) == sorted(path.name for path in PAGES.glob("*.md"))


@cache
def known_flags() -> frozenset[str]:
    """The flags of all commands: those of settings, and those that a command declares itself."""
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "src" / "batchseal").glob("c*/**/*.py"))
    own = set(re.findall(r'"(--[a-z][a-z-]*)"', sources))
    dotted = {f"--{option.metadata['dotted']}" for option in OPTIONS.values() if option.metadata["dotted"]}
    return frozenset(own | dotted | {modern_flag(name) for name in OPTIONS})


@pytest.mark.parametrize("page", pages())
def test_flags_and_commands_that_a_page_names_exist(page: str) -> None:
    text = filled((PAGES / page).read_text("utf-8"))
    spans = re.findall(r"`([^`\n]+)`", BLOCK.sub("", text))
    calls = re.findall(r"^\s*(batchseal (?:.*\\\n)*.*)$", text, re.MULTILINE)
    named = {flag for words in [*spans, *calls] for flag in FLAG.findall(words)}
    assert named - known_flags() - OF_OTHERS - OF_TWO == set()
    commands = {found[1] for words in [*spans, *calls] if (found := re.match(r"batchseal ([a-z]+)\b", words))}
    assert commands <= COMMANDS.keys()


def test_what_is_run_is_called_by_its_name() -> None:
    for page in pages():
        kinds = [block.kind for block in blocks(page)]
        assert all(kind != "output" or before == "run" for before, kind in zip(["", *kinds], kinds, strict=False)), page


# --- what is built ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages, built strictly: a warning would be a failure."""
    programs = tools.find(BUILDER)
    if programs is None:
        said = tools.missing([BUILDER])
        pytest.fail(said) if os.environ.get("REQUIRE_VALIDATORS") == "1" else pytest.skip(said)
    folder = tmp_path_factory.mktemp("site")
    command = [f"{programs}/properdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "PYTHONPATH": "..:../src", "PYTHONDONTWRITEBYTECODE": "1"}
    built = subprocess.run(command, cwd=ROOT / "docs", env=environment, capture_output=True, text=True, check=False)
    assert built.returncode == 0 and "WARNING" not in built.stderr, built.stderr
    return folder


@cache
def anchors(page: Path) -> frozenset[str]:
    return frozenset(html.parse(page).xpath("//@id"))


def test_every_link_leads_to_something_and_nothing_comes_from_elsewhere(site: Path) -> None:
    wrong = []
    for page in site.rglob("*.html"):
        tree = html.parse(page)
        loaded = tree.xpath("//@src | //link/@href")
        wrong += [f"{page.name} loads {address}" for address in loaded if ":" in address or address.startswith("//")]
        for address in {*loaded, *tree.xpath("//a/@href")}:
            if "://" in address:
                continue
            name, _, anchor = unquote(address).partition("#")
            target = (page.parent / name).resolve() if name else page
            if not target.is_file() or site not in target.parents:
                wrong.append(f"{page.name}: {address}")
            elif anchor and anchor not in anchors(target):
                wrong.append(f"{page.name}: {address} has no such section")
    assert wrong == []


def test_pages_keep_to_their_policy(site: Path) -> None:
    for page in site.rglob("*.html"):
        tree = html.parse(page)
        assert tree.xpath("//@style | //style | //script[not(@src)] | //@onclick | //form") == [], page.name
    assert not re.search(r"https?://|@import|url\(", (site / "style.css").read_text())
    assert "http" not in (site / "search.js").read_text()


def test_the_search_knows_every_page(site: Path) -> None:
    index = json.loads((site / "search" / "search_index.json").read_text())
    assert {entry["location"].partition("#")[0] for entry in index["docs"]} == {p.name for p in site.glob("*.html")}
    assert sorted(p.name for p in site.glob("*.html")) == sorted(page.replace(".md", ".html") for page in pages())


def test_nothing_is_left_that_the_builder_should_have_replaced(site: Path) -> None:
    for page in site.glob("*.html"):
        text = page.read_text("utf-8")
        assert not re.search(r"<!-- (generate|include|section)|\{\{ default", text), page.name
