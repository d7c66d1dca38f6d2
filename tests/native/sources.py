"""The C sources in ext/ and the flags that setup.py compiles them with."""

import ast
import platform
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
X86 = platform.machine() in ("x86_64", "AMD64")


def setup_constant(name: str) -> Any:
    """A literal of setup.py: what is checked is built with the flags that the product is built with."""
    for statement in ast.parse((ROOT / "setup.py").read_text()).body:
        if (
            isinstance(statement, ast.Assign)
            and isinstance(target := statement.targets[0], ast.Name)
            and target.id == name
        ):
            return ast.literal_eval(statement.value)
    raise LookupError(name)


def native_sources() -> list[tuple[str, Path]]:
    """Every C file in ext/ with the instruction set whose flags it gets; "core" for those that get none."""
    sources = [("core", path) for path in sorted(ROOT.glob("ext/*/*.c"))]
    return sources + [(path.parent.name, path) for path in sorted(ROOT.glob("ext/*/arch/*/*.c"))]
