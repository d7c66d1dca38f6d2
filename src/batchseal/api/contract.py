"""Reads and checks `contract.toml`: the HTTP methods, paths and names that no public document of the original fixes.

`--compat.contract=FILE` names an operator's file of the same form. Its values replace those of `contract.toml`.
"""

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchseal.errors import ConfigurationError

REFERENCE = "{externalReference}"
VERBS = ("GET", "POST", "PUT")


@dataclass(frozen=True, slots=True)
class Route:
    """One address below `<base><version>`.

    `verb` is the HTTP method. `template` is the path; it begins with a slash and may hold `{parameters}`.
    """

    name: str
    verb: str
    template: str

    @property
    def takes_reference(self) -> bool:
        return REFERENCE in self.template

    @property
    def parameters(self) -> tuple[str, ...]:
        return tuple(re.findall(r"\{(\w+)\}", self.template))

    @property
    def routed(self) -> str:
        """The template without the external reference. `address.py` takes the reference out before the router sees the path."""
        return self.template.replace("/" + REFERENCE, "")


@dataclass(frozen=True, slots=True)
class Contract:
    """The contract in force.

    All paths begin with a slash. `status` and `document` map our field names to the names that are sent, for status
    entries and for entries of documentList. `reference_query` is the query parameter that may carry the external reference,
    `record_query` the one that asks for an evidence record.
    """

    bases: tuple[str, ...]
    version: str
    token: str
    live: str
    ready: str
    metrics: str
    swagger: str
    swagger_files: str
    openapi: str
    documentation: str
    routes: dict[str, Route]
    reference_query: str
    record_query: str
    status: dict[str, str]
    document: dict[str, str]

    def path(self, name: str, base: str = "", **values: object) -> str:
        """The path of a route, for a `Location` header. `values` fill its parameters; they are not percent-encoded here."""
        return (base or self.bases[0]) + self.version + self.routes[name].template.format(**values)


def load_contract(replacement: str = "") -> Contract:
    """Loads contract.toml, and the file `replacement` over it if that is not empty.

    Raises ConfigurationError if the file cannot be read, has an unknown key, or changes the parameters of a route.
    """
    own = tomllib.loads(Path(__file__).with_name("contract.toml").read_text("utf-8"))
    table = overlay(own, read_replacement(Path(replacement)), replacement) if replacement else own
    routes = {name: parse_route(name, text) for name, text in table["route"].items()}
    for name, text in own["route"].items():
        if set(routes[name].parameters) != set(parse_route(name, text).parameters):
            raise ConfigurationError(f"contract: route {name} must have the same parameters as {text!r}")
    address, bases = table["address"], table["address"]["bases"]
    if not bases or not all(isinstance(base, str) for base in bases):
        raise ConfigurationError("contract: bases: must be a list of paths like /a/b, and have one of them at least")
    paths = {key: checked_path(key, address[key]) for key in address if key != "bases"}
    return Contract(
        bases=tuple(checked_path("bases", base) for base in bases),
        routes=routes,
        reference_query=table["query"]["externalReference"],
        record_query=table["query"]["evidenceRecord"],
        status=table["status"],
        document=table["document"],
        **paths,
    )


def read_replacement(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as problem:
        raise ConfigurationError(f"--compat.contract: {path}: {problem}") from None


def overlay(own: dict[str, Any], other: dict[str, Any], where: str) -> dict[str, Any]:
    """A copy of `own` with the values of `other`, table by table. Raises ConfigurationError; `where` names the file in it."""
    merged = dict(own)
    for key, value in other.items():
        if key not in own or type(value) is not type(own[key]):
            raise ConfigurationError(
                f"--compat.contract: {where}: {key!r} is not a key of the contract, or its value has the wrong type"
            )
        merged[key] = overlay(own[key], value, where) if isinstance(value, dict) else value
    return merged


def checked_path(key: str, path: str) -> str:
    """Returns `path` if it can be routed, else raises ConfigurationError."""
    if not re.fullmatch(r"(/[\w.~-]+)+", path):
        raise ConfigurationError(f"contract: {key}: {path!r} is not a path like /a/b")
    return path


def parse_route(name: str, text: str) -> Route:
    """Reads a route such as "GET operation/status/{id}". Raises ConfigurationError."""
    verb, _, path = text.partition(" ")
    template = "/" + path.strip("/")
    if verb not in VERBS or not re.fullmatch(r"(/([\w.~-]+|\{\w+\}))+", template) or template.count(REFERENCE) > 1:
        raise ConfigurationError(f"contract: route {name}: {text!r} is not 'VERB path/with/{{parameters}}'")
    return Route(name, verb, template)
