"""What the tests of the chart and of compose.yaml share: their tools, and the flags that they give to the service."""

import atexit
import json
import os
import re
import subprocess
from collections.abc import Iterable
from functools import cache
from typing import Any

import pytest
from harness import tools

from batchseal.settings.load import OPTIONS, modern_flag

ROOT = tools.ROOT
TOOLS = "deployment tools"
FLAG = re.compile(r"--[a-z][a-z.-]*")
Objects = list[dict[str, Any]]


def tool(name: str) -> str:
    """A program of the deployment tools. Skips the test where they are missing, or fails it where all judges must be there."""
    folder = tools.find(TOOLS)
    if folder is None:
        said = tools.missing([TOOLS])
        if os.environ.get("REQUIRE_VALIDATORS") == "1":
            pytest.fail(said)
        pytest.skip(said)
    return f"{folder}/{name}"


@cache
def _renderer() -> "subprocess.Popen[str]":
    """What renders the chart. It is started once, since Helm and the schemas take seconds to load, and ends with its input."""
    command = [tool("python"), str(ROOT / "tests" / "support" / "chart_tools.py")]
    started = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    atexit.register(started.communicate)
    return started


@cache
def _render(task: str) -> Any:
    renderer = _renderer()
    assert renderer.stdin is not None and renderer.stdout is not None
    renderer.stdin.write(task + "\n")
    renderer.stdin.flush()
    found = json.loads(renderer.stdout.readline())
    assert "fault" not in found, found["fault"]
    return found


def release(values: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The release `seals` in the namespace `prod`: its objects, notes and what the linter says, or why it was refused.

    `more` are other arguments of `render` in chart_tools.py.
    """
    found: dict[str, Any] = _render(json.dumps({"chart": str(ROOT / "chart"), "values": values, **more}))
    return found


def rendered(**values: Any) -> Objects:
    """The objects of that release."""
    found = release(values)
    assert "refused" not in found, found["refused"]
    objects: Objects = found["objects"]
    return objects


def refused(**values: Any) -> str:
    """Why a release with these values cannot be."""
    said: str | None = release(values).get("refused")
    assert said is not None, "it was rendered"
    return said


def unknown_flags(arguments: Iterable[str]) -> set[str]:
    """Those flags of `arguments` that the service does not have."""
    known = {modern_flag(name) for name in OPTIONS} | {f"--{one.metadata['dotted']}" for one in OPTIONS.values()}
    found = [FLAG.match(argument) for argument in arguments]
    return {one[0] for one in found if one is not None} - known
