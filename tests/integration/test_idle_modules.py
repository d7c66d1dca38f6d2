"""The modules of each process of an idle service: what is not used there is not loaded.

The real processes are asked. A `sitecustomize.py` that only this test puts on their path lets SIGUSR2 write the names in
`sys.modules` to a file. The worker and the signer are forked from a process that has loaded what both need. What counts for
them is what they have beside that.
"""

import os
import signal
import subprocess
import sys
from functools import cache

import pytest
from harness.processes import family
from harness.service import RunningService
from tests.support.service import FAST, until

REPORTER = """
import os, signal, sys

def report(*_):
    path = f"{os.environ['BATCHSEAL_TEST_MODULES']}/{os.getpid()}"
    with open(path + ".new", "w") as file:
        file.write("\\n".join(sys.modules))
    os.rename(path + ".new", path)

signal.signal(signal.SIGUSR2, report)
"""


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """For each part of an idle service the modules that its process has loaded."""
    return modules_of(tmp_path_factory)


def modules_of(tmp_path_factory: pytest.TempPathFactory, *flags: str) -> dict[str, set[str]]:
    """The same for a service with these flags."""
    site, reports = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("reports")
    (site / "sitecustomize.py").write_text(REPORTER)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PYTHONPATH", str(site))
        environment.delenv("COVERAGE_PROCESS_CONFIG", raising=False)  # measuring coverage would load its own modules
        environment.setenv("BATCHSEAL_TEST_MODULES", str(reports))
        with RunningService(*FAST, "--workers=1", *flags) as service:
            parts = {part: pid for pid, part in family(service.process.pid) if part != "postgres"}
            for pid in parts.values():
                os.kill(pid, signal.SIGUSR2)
            until(lambda: all((reports / str(pid)).exists() for pid in parts.values()))
            return {part: set((reports / str(pid)).read_text().split()) for part, pid in parts.items()}


# The packages of others that each process may have loaded while it is idle; what else is needed is imported where it is used.
# structlog loads greenlet where that is installed, which the image does not do.
LOGGING = ("structlog", "greenlet")
ALLOWED = {
    "supervisor": set(LOGGING),
    "worker": {
        *("asn1crypto", "asyncpg", "granian", "msgspec", "prometheus_client", "python_multipart", *LOGGING),
        *("typing_extensions", "uvloop", "xxhash", "zstandard"),
        # BlackSheep and what it brings.
        *("blacksheep", "dotenv", "essentials", "guardpost", "httptools", "itsdangerous", "rodi"),
    },
    "signer": {
        *("asn1crypto", "asyncpg", "cryptography", "msgspec", *LOGGING, "typing_extensions"),
        *("uvloop", "xxhash", "zstandard"),
        *("aiohttp", "aiohappyeyeballs", "aiosignal", "attr", "frozenlist", "idna", "multidict", "propcache", "yarl"),
    },
    "sandbox": {
        *("asn1crypto", "cryptography", "msgspec", *LOGGING, "typing_extensions"),
        *("aiohttp", "aiohappyeyeballs", "aiosignal", "attr", "frozenlist", "idna", "multidict", "propcache", "yarl"),
    },
}
FORKED = ("worker", "signer")
# The folders of Batchseal itself that only these processes may load.
OWNERS = {
    "_native": {"worker", "signer"},
    "api": {"worker"},
    "client": set(),
    "commands": {"supervisor"},
    "entries": set(),  # its process runs only with hot folders
    "intake": {"worker"},
    "operator": set(),
    "pipeline": {"worker"},
    "postgres": {"supervisor"},
    "sandbox": {"sandbox"},
    "signer": {"signer"},
    "store": {"worker", "signer"},
    "upstream": {"worker", "signer"},  # the worker reads one small module: how the upstream is
    "worker": {"worker"},
}


@cache
def shared() -> set[str]:
    """What the process has loaded that the worker and the signer are forked from."""
    code = "import sys, batchseal.commands.serve, batchseal.processes.supervisor, batchseal.app.shared_code; print(*sys.modules)"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split())


def own(part: str, modules: dict[str, set[str]]) -> set[str]:
    """What a process has loaded itself."""
    return modules[part] - (shared() if part in FORKED else set())


def packages(names: set[str]) -> set[str]:
    """The packages of others: neither the standard library, nor ourselves, nor the compiled helpers of packages."""
    top = {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"batchseal", "sitecustomize"}
    return {name for name in top if not name.startswith("_") and name != "cython_runtime"}


def own_folders(names: set[str]) -> set[str]:
    return {name.split(".")[1] for name in names if name.startswith("batchseal.")} & OWNERS.keys()


@pytest.mark.parametrize("part", ALLOWED)
def test_an_idle_process_has_loaded_only_what_it_uses(part: str, modules: dict[str, set[str]]) -> None:
    names = own(part, modules)
    print(f"{part}: {len(names)} modules; {', '.join(sorted(packages(names)))}")
    assert packages(names) - ALLOWED[part] == set()
    assert {folder for folder in own_folders(names) if part not in OWNERS[folder]} == set()


def test_what_the_forked_processes_have_in_common_is_loaded_before_they_are_forked(
    modules: dict[str, set[str]],
) -> None:
    twice = own("worker", modules) & own("signer", modules)
    large = ("batchseal.", "asn1crypto.", "asyncpg.", "email.", "http.")
    assert {name for name in twice if name.startswith(large)} == {"batchseal.app.forked"}  # which forks them
    assert shared() <= modules["worker"] & modules["signer"]


def test_large_parts_of_the_standard_library_are_loaded_where_they_are_used(modules: dict[str, set[str]]) -> None:
    late = {"argparse", "email.generator"}
    assert own("worker", modules) & late == set()
    assert own("signer", modules) & {*late, "zipfile"} == set()  # in a worker, BlackSheep loads it


def test_formats_are_loaded_with_their_first_document(modules: dict[str, set[str]]) -> None:
    late = (
        *("batchseal.formats.xades", "batchseal.formats.cades", "batchseal._native.canonicaliser"),
        # With the first client service that has a hot folder.
        *("batchseal.settings.hot_folders", "batchseal.settings.cron"),
    )
    assert {name for names in modules.values() for name in names if name.startswith(late)} == set()
    assert "batchseal.formats.pades.pades" in modules["worker"] & modules["signer"]


def test_every_process_was_asked(modules: dict[str, set[str]]) -> None:
    assert modules.keys() == ALLOWED.keys()
    assert all("asyncio" in names for names in modules.values())


def test_the_operator_s_page_is_loaded_with_its_first_request(tmp_path_factory: pytest.TempPathFactory) -> None:
    modules = modules_of(tmp_path_factory, "--operator-port=any")
    loaded = {name for names in modules.values() for name in names if name.startswith("batchseal.operator.")}
    assert loaded == {"batchseal.operator.interface", "batchseal.operator.listener"}
    for part, allowed in ALLOWED.items():
        assert packages(own(part, modules)) - allowed == set()
