"""The lock files: complete, hashed, and free of addresses."""

import json
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TYPESCRIPT = ROOT / "tests" / "clients" / "typescript"
LOCKS = tuple(
    f"requirements{part}.lock"
    for part in ("", "-build", "-image", "-dev", "-bench", "-clients", "-deployment", "-docs")
)


def names_and_hashes(lock: str) -> dict[str, int]:
    """Pinned package to the number of its hashes."""
    found: dict[str, int] = {}
    name = ""
    for line in (ROOT / lock).read_text("utf-8").splitlines():
        if pinned := re.match(r"([a-z0-9-]+)==\S+", line):
            name = pinned[1]
            found[name] = 0
        elif "--hash=sha256:" in line:
            found[name] += 1
    return found


def wanted(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=!~\[ ;]", line, maxsplit=1)[0].lower() for line in requirements if line}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_hashes_and_no_file_an_address(lock: str) -> None:
    assert all(names_and_hashes(lock).values())
    text = (ROOT / lock).read_text("utf-8")
    assert "://" not in text
    assert "--index-url" not in text
    assert "--find-links" not in text


def test_every_package_of_node_has_a_digest_and_no_address() -> None:
    packages = json.loads((TYPESCRIPT / "package-lock.json").read_text("utf-8"))["packages"]
    wanted = json.loads((TYPESCRIPT / "package.json").read_text("utf-8"))["devDependencies"]
    assert packages.pop("")["devDependencies"] == wanted
    assert all(package["integrity"].startswith("sha512-") for package in packages.values())
    assert not any("resolved" in package for package in packages.values())
    assert {f"node_modules/{name}": version for name, version in wanted.items()}.items() <= {
        name: package["version"] for name, package in packages.items()
    }.items()


def test_locks_hold_what_the_project_asks_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    runtime = names_and_hashes("requirements.lock")
    assert wanted(project["project"]["dependencies"]) <= runtime.keys()
    build = names_and_hashes("requirements-build.lock")
    assert wanted(project["build-system"]["requires"]) <= build.keys()
    lines = [line.partition("#")[0].strip() for line in (ROOT / "requirements-dev.in").read_text("utf-8").splitlines()]
    assert wanted(lines) | runtime.keys() | build.keys() <= names_and_hashes("requirements-dev.lock").keys()


def test_build_requirements_are_told_once() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    lines = (ROOT / "requirements-build.in").read_text("utf-8").splitlines()
    assert {line for line in lines if not line.startswith("#")} == set(project["build-system"]["requires"])
