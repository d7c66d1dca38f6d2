"""Style is a test: each rule of the design that a machine can check, over every file it is about."""

import inspect
import re
import subprocess
import tomllib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from tests.style import rules

from batchseal import errors

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "batchseal"

EXCEPTIONS = {name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, Exception)}
Rule = Callable[[str], Iterator[str]]


def tracked(*patterns: str) -> list[Path]:
    """Files under version control, and new ones that are not ignored."""
    command = ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard", *patterns]
    names = subprocess.run(command, capture_output=True, check=True).stdout.decode().split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def sources() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def broken(rule: Rule, files: Iterable[Path], allowed: Callable[[Path], bool] = lambda path: False) -> list[str]:
    found = []
    for path in files:
        if not allowed(path):
            found += [f"{path.relative_to(ROOT)}:{what}" for what in rule(path.read_text("utf-8"))]
    return found


def test_only_config_reads_the_environment() -> None:
    assert broken(rules.environment_reads, sources(), lambda p: p == PACKAGE / "settings" / "load.py") == []


def test_only_errors_defines_exceptions() -> None:
    def rule(source: str) -> Iterator[str]:
        return rules.exception_definitions(source, EXCEPTIONS)

    assert broken(rule, sources(), lambda p: p == PACKAGE / "errors.py") == []


def test_nothing_runs_between_fork_and_exec() -> None:
    assert broken(rules.code_between_fork_and_exec, sources()) == []


def test_only_the_store_holds_sql() -> None:
    assert broken(rules.sql_statements, sources(), lambda p: PACKAGE / "store" in p.parents) == []
    assert {p.parent.name for p in PACKAGE.rglob("*.sql")} <= {"store", "migrations"}


def test_every_query_says_what_it_is_for() -> None:
    assert broken(rules.queries_without_a_purpose, (PACKAGE / "store").glob("*.sql")) == []


def test_only_native_is_compiled() -> None:
    compiled = [p for suffix in ("pyx", "pxd", "c", "so") for p in PACKAGE.rglob(f"*.{suffix}")]
    assert {p.parent for p in compiled} <= {PACKAGE / "_native"}
    assert [p for p in ROOT.glob("ext/**/*.[ch]") if "Python.h" in p.read_text("utf-8")] == []


def test_kernels_neither_allocate_nor_do_io() -> None:
    allocate = ("malloc", "calloc", "realloc", "alloca", "free")
    talk = ("printf", "fprintf", "puts", "fopen", "open", "read", "write", "getenv", "exit", "abort")

    def rule(source: str) -> Iterator[str]:
        return rules.calls_in_c(source, allocate + talk)

    kernels = list(ROOT.glob("ext/*/arch/**/*.[ch]"))
    assert kernels
    assert broken(rule, kernels) == []
    assert broken(lambda source: rules.calls_in_c(source, talk), ROOT.glob("ext/*/*.[ch]")) == []


@pytest.mark.parametrize(("suffix", "limit"), [("py", rules.PY_LINES), ("pyx", rules.PYX_LINES)])
def test_files_are_short(suffix: str, limit: int) -> None:
    lengths = {p: len(p.read_text("utf-8").splitlines()) for p in tracked(f"*.{suffix}")}
    assert lengths
    assert {str(p.relative_to(ROOT)): n for p, n in lengths.items() if n > limit} == {}


def test_functions_are_short() -> None:
    assert broken(rules.long_functions, tracked("*.py")) == []


def test_modules_say_what_they_own() -> None:
    assert broken(rules.missing_docstring, sources()) == []


def test_no_file_names_a_machine() -> None:
    texts = [p for p in tracked() if p.suffix not in (".pdf", ".png", ".der", ".bin", ".p12", ".spill", ".ttf")]
    assert len(texts) > 20
    assert broken(rules.machine_paths, texts) == []


def test_files_that_are_named_exist() -> None:
    names = {path.name for path in tracked()}
    texts = [
        path for path in tracked("src", "ext", "*.md") if path.suffix in (".py", ".pyx", ".sql", ".c", ".h", ".md")
    ]
    assert broken(lambda text: rules.unknown_files(text, names), texts) == []


def test_no_test_is_skipped_for_a_missing_package() -> None:
    assert broken(rules.skipped_imports, tracked("tests/*.py", "benchmarks/*.py")) == []


def test_no_file_is_empty() -> None:
    assert [
        p.name for p in tracked() if p.stat().st_size == 0 and p.name not in ("__init__.py", "py.typed", ".gitkeep")
    ] == []


def test_every_exception_is_used() -> None:
    others = "".join(path.read_text("utf-8") for path in sources() if path != PACKAGE / "errors.py")
    families = {base.__name__ for name in EXCEPTIONS for base in vars(errors)[name].__mro__[1:]}
    assert {name for name in EXCEPTIONS - families if not re.search(rf"\b{name}\b", others)} == set()


def test_everything_that_is_packaged_exists() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["batchseal"]
    assert [pattern for pattern in patterns if not any(PACKAGE.glob(pattern))] == []


def test_tests_and_benchmarks_share_the_harness_only() -> None:
    """Neither imports the other, and the harness imports neither: each can be read and changed without the others."""

    def imports_of(*packages: str) -> Rule:
        return lambda source: rules.imports_of(source, packages)

    assert broken(imports_of("benchmarks"), (ROOT / "tests").rglob("*.py")) == []
    assert broken(imports_of("tests"), (ROOT / "benchmarks").rglob("*.py")) == []
    assert broken(imports_of("tests", "benchmarks"), (ROOT / "harness").rglob("*.py")) == []


SAMPLES = [
    (lambda source: rules.imports_of(source, ("benchmarks",)), "from benchmarks.service import RunningService"),
    (lambda source: rules.imports_of(source, ("benchmarks",)), "import benchmarks"),
    (rules.environment_reads, "import os\nprint(os.environ['A'])"),
    (rules.environment_reads, "from os import getenv"),
    (lambda source: rules.exception_definitions(source, EXCEPTIONS), "class Oops(ValueError): pass"),
    (lambda source: rules.exception_definitions(source, EXCEPTIONS), "class Oops(errors.ApiError): pass"),
    (rules.sql_statements, "q = 'SELECT a\\nFROM b'"),
    (rules.sql_statements, "q = f'UPDATE t SET a = {x}'"),
    (rules.code_between_fork_and_exec, "run(['true'], preexec_fn=f)"),
    (rules.long_functions, "def f():\n" + "    pass\n" * 70),
    (rules.machine_paths, "see /" + "root/notes"),
    (rules.queries_without_a_purpose, "-- name: all\nTABLE documents;"),
    (rules.skipped_imports, "a = pytest.importorskip('a')"),
    (rules.missing_docstring, "x = 1"),
    (lambda text: rules.unknown_files(text, {"there.py"}), "# there.py and old/gone.py"),
    (lambda source: rules.calls_in_c(source, ("malloc",)), "/* no */ void *p = malloc(3);"),
]


@pytest.mark.parametrize(("rule", "sample"), SAMPLES)
def test_rules_see_what_breaks_them(rule: Rule, sample: str) -> None:
    assert list(rule(sample))


def test_rules_let_pass_what_is_right() -> None:
    assert not list(
        rules.calls_in_c("// malloc(3) is not for kernels\n/* free(x) */ int freeze(int a);", ("malloc", "free"))
    )
    assert not list(rules.sql_statements("'select a document from the list'"))
    assert not list(rules.long_functions("def f():\n" + "    pass\n" * 69))
