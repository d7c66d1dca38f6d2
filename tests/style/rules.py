"""The project's rules as functions over a source text: each gives what breaks it, as "line: what"."""

import ast
import builtins
import re
from collections.abc import Iterator

PY_LINES, PYX_LINES, FUNCTION_LINES = 400, 400, 70

SQL = re.compile(
    r"\bSELECT\b.+\bFROM\b|\bINSERT\s+INTO\b|\bUPDATE\b.+\bSET\b|\bDELETE\s+FROM\b|\b(CREATE|ALTER|DROP)\s+TABLE\b",
    re.DOTALL,
)
# Folders of somebody's machine.
MACHINE_PATH = re.compile(r"/(work/[a-z.]|root/|opt/(pypi|wheels)|Users/|home/[a-z]+/)")
BUILTIN_EXCEPTIONS = {
    name for name, value in vars(builtins).items() if isinstance(value, type) and issubclass(value, BaseException)
}


def environment_reads(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv", "putenv"):
            yield f"{node.lineno}: os.{node.attr}"
        if isinstance(node, ast.ImportFrom) and node.module == "os":
            for name in {alias.name for alias in node.names} & {"environ", "environb", "getenv", "putenv"}:
                yield f"{node.lineno}: from os import {name}"


def imports_of(source: str, packages: tuple[str, ...]) -> Iterator[str]:
    """Imports of these packages of our own, at the top of the module or inside a function."""
    for node in ast.walk(ast.parse(source)):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            if name.partition(".")[0] in packages:
                yield f"{node.lineno}: {name}"


def exception_definitions(source: str, known: set[str]) -> Iterator[str]:
    """`known` are the names of the project's exceptions."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ClassDef):
            bases = {base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "") for base in node.bases}
            if bases & (BUILTIN_EXCEPTIONS | known):
                yield f"{node.lineno}: class {node.name}"


def sql_statements(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.search(node.value):
            yield f"{node.lineno}: {node.value[:60]!r}"


def code_between_fork_and_exec(source: str) -> Iterator[str]:
    """In a process with threads it can wait for ever, for a lock that another thread held when the process was forked."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.keyword) and node.arg == "preexec_fn":
            yield f"{node.value.lineno}: preexec_fn"


def long_functions(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            if lines > FUNCTION_LINES:
                yield f"{node.lineno}: {node.name} has {lines} lines"


def machine_paths(text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), 1):
        if found := MACHINE_PATH.search(line):
            yield f"{number}: {found[0]}"


def unknown_files(text: str, names: set[str]) -> Iterator[str]:
    """Sources that are named and do not exist; `names` are the base names of all files."""
    for number, line in enumerate(text.splitlines(), 1):
        for path in re.findall(r"[\w/.-]*\w\.(?:py|pyx|sql|md)\b", line):
            if path.rpartition("/")[2] not in names:
                yield f"{number}: {path}"


def queries_without_a_purpose(source: str) -> Iterator[str]:
    """Named queries that no comment explains."""
    lines = source.splitlines()
    for number, line in enumerate(lines, 1):
        if line.startswith("-- name: ") and not "".join(lines[number : number + 1]).startswith("-- "):
            yield f"{number}: {line.removeprefix('-- name: ')}"


def skipped_imports(source: str) -> Iterator[str]:
    """Tests that are skipped for a missing package: all of them are locked, so a missing one must fail."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and node.attr == "importorskip":
            yield f"{node.lineno}: {ast.unparse(node)}"


def missing_docstring(source: str) -> Iterator[str]:
    tree = ast.parse(source)
    if tree.body and ast.get_docstring(tree) is None:
        yield "1: the module says nothing about itself"


def calls_in_c(source: str, names: tuple[str, ...]) -> Iterator[str]:
    """Calls of `names` in C, comments aside."""
    code = re.sub(r"//[^\n]*|/\*.*?\*/", lambda comment: "\n" * comment[0].count("\n"), source, flags=re.DOTALL)
    for number, line in enumerate(code.splitlines(), 1):
        if found := re.search(rf"\b({'|'.join(names)})\s*\(", line):
            yield f"{number}: {found[1]}"
