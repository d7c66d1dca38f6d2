"""The project's rules as functions over a source text: each gives what breaks it, as "line: what"."""

import ast
import builtins
import gc
import re
from collections.abc import Iterator
from functools import lru_cache

PY_LINES, PYX_LINES, FUNCTION_LINES = 400, 400, 70
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)

SQL = re.compile(
    r"\bSELECT\b.+\bFROM\b|\bINSERT\s+INTO\b|\bUPDATE\b.+\bSET\b|\bDELETE\s+FROM\b|\b(CREATE|ALTER|DROP)\s+TABLE\b",
    re.DOTALL,
)
# Folders of somebody's machine.
MACHINE_PATH = re.compile(r"/(work/[a-z.]|root/|opt/(pypi|wheels)|Users/|home/[a-z]+/)")
BUILTIN_EXCEPTIONS = {
    name for name, value in vars(builtins).items() if isinstance(value, type) and issubclass(value, BaseException)
}


@lru_cache(maxsize=1)  # whoever tries several rules on a source tries one after the other
def parsed(source: str) -> ast.Module:
    """The syntax tree. Before Python 3.11.8 a garbage collection in the middle may raise SystemError (gh-106905)."""
    gc.disable()
    try:
        return ast.parse(source)
    finally:
        gc.enable()


def environment_reads(source: str) -> Iterator[str]:
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "environb", "getenv", "putenv"):
            yield f"{node.lineno}: os.{node.attr}"
        if isinstance(node, ast.ImportFrom) and node.module == "os":
            for name in {alias.name for alias in node.names} & {"environ", "environb", "getenv", "putenv"}:
                yield f"{node.lineno}: from os import {name}"


def imports_of(source: str, packages: tuple[str, ...]) -> Iterator[str]:
    """Imports of these packages of our own, at the top of the module or inside a function."""
    for node in ast.walk(parsed(source)):
        if not isinstance(node, ast.ImportFrom | ast.Import):
            continue
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            if name.partition(".")[0] in packages:
                yield f"{node.lineno}: {name}"


def exception_definitions(source: str, known: set[str]) -> Iterator[str]:
    """`known` are the names of the project's exceptions."""
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.ClassDef):
            bases = {base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "") for base in node.bases}
            if bases & (BUILTIN_EXCEPTIONS | known):
                yield f"{node.lineno}: class {node.name}"


def sql_statements(source: str) -> Iterator[str]:
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL.search(node.value):
            yield f"{node.lineno}: {node.value[:60]!r}"


def code_between_fork_and_exec(source: str) -> Iterator[str]:
    """In a process with threads it can wait for ever, for a lock that another thread held when the process was forked."""
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.keyword) and node.arg == "preexec_fn":
            yield f"{node.value.lineno}: preexec_fn"


def long_functions(source: str) -> Iterator[str]:
    for node in ast.walk(parsed(source)):
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
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.Attribute) and node.attr == "importorskip":
            yield f"{node.lineno}: {ast.unparse(node)}"


def missing_docstring(source: str) -> Iterator[str]:
    tree = parsed(source)
    if tree.body and ast.get_docstring(tree) is None:
        yield "1: the module says nothing about itself"


def calls_in_c(source: str, names: tuple[str, ...]) -> Iterator[str]:
    """Calls of `names` in C, comments aside."""
    code = re.sub(r"//[^\n]*|/\*.*?\*/", lambda comment: "\n" * comment[0].count("\n"), source, flags=re.DOTALL)
    for number, line in enumerate(code.splitlines(), 1):
        if found := re.search(rf"\b({'|'.join(names)})\s*\(", line):
            yield f"{number}: {found[1]}"


def sleeps(source: str) -> Iterator[str]:
    """Calls of `sleep`, each with the name of the function that it stands in. `sleep(0)` only lets others run."""
    for name, node in named_functions(parsed(source)):
        for call in calls_within(node):
            function = call.func
            called = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
            if called == "sleep" and [ast.unparse(argument) for argument in call.args] != ["0"]:
                yield f"{call.lineno}: {name}"


def patched_constants(source: str) -> Iterator[str]:
    """`monkeypatch.setattr` of a constant, and assignments to a constant of another module."""
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "setattr":
            names = [str(a.value) for a in node.args[:2] if isinstance(a, ast.Constant) and isinstance(a.value, str)]
            for name in names:
                if name.rpartition(".")[2].isupper():
                    yield f"{node.lineno}: {name}"
        if isinstance(node, ast.Assign):
            for target in node.targets:
                if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.attr.isupper():
                    yield f"{node.lineno}: {ast.unparse(target)}"


def private_attributes(source: str) -> Iterator[str]:
    """Attributes with an underscore of anything but `self`, `super()` and `cls`; those with two are part of Python."""
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.startswith("__"):
            owner = node.value.func if isinstance(node.value, ast.Call) else node.value
            if not isinstance(owner, ast.Name) or owner.id not in ("self", "super", "cls", "os", "sys"):
                yield f"{node.lineno}: {ast.unparse(node)}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "setattr":
            for argument in node.args[:2]:
                if isinstance(argument, ast.Constant) and str(argument.value).rpartition(".")[2].startswith("_"):
                    yield f"{node.lineno}: {argument.value!s}"


def named_functions(node: ast.AST, outer: str = "") -> Iterator[tuple[str, ast.AST]]:
    """The module itself under the name "module", and each function and class in it by its dotted name."""
    if isinstance(node, ast.Module):
        yield "module", node
    for child in ast.iter_child_nodes(node):
        name = outer
        if isinstance(child, FUNCTIONS):
            name = f"{outer}.{child.name}" if outer else child.name
            yield name, child
        yield from named_functions(child, name)


def calls_within(node: ast.AST) -> Iterator[ast.Call]:
    """The calls of a function that are not those of a function inside it."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, FUNCTIONS):
            if isinstance(child, ast.Call):
                yield child
            yield from calls_within(child)
