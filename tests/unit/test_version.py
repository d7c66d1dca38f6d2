"""One version stands in all places that name it."""

import json
import re
import tomllib
from pathlib import Path

import pytest

import batchseal

ROOT = Path(__file__).parents[2]
# Where it stands beside pyproject.toml, and after what.
PLACES = {
    "Dockerfile": r"^ARG VERSION=(\S+)$",
    "compose.yaml": r"^ *image: batchseal:(\S+)$",
    "chart/Chart.yaml": r"^appVersion: (\S+)$",
}


def released() -> str:
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"])


@pytest.mark.parametrize("path", PLACES)
def test_a_file_names_the_version(path: str) -> None:
    found = re.findall(PLACES[path], (ROOT / path).read_text("utf-8"), re.MULTILINE)
    assert found
    assert set(found) == {released()}


def test_the_package_and_its_openapi_document_name_the_version() -> None:
    assert batchseal.__version__ == released()
    assert json.loads((ROOT / "openapi.json").read_text("utf-8"))["info"]["version"] == released()


def test_the_changelog_has_the_version() -> None:
    headings = re.findall(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert released() in headings
