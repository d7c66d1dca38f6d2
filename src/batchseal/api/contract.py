"""The wire's choosable verbs, paths and names: `contract.toml`, or an operator's file over it.

Owns reading and checking; offers each route with its verb and its path below the base.
"""

import re
import tomllib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from batchseal.errors import ConfigurationError

REFERENCE = "{externalReference}"
VERBS = ("GET", "POST", "PUT")


@dataclass(frozen=True, slots=True)
class Route:
    """One address below `<base><version>`: `template` begins with a slash and holds `{parameters}`."""

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
        """The template without the element of the external reference: that one never goes through a path
        router.
        """
        return self.template.replace("/" + REFERENCE, "")


@dataclass(frozen=True, slots=True)
class Contract:
    """`status` and `document` give the wire's name for each of our names; all paths begin with a slash."""

    bases: tuple[str, ...]
    version: str
    token: str
    live: str
    ready: str
    metrics: str
    swagger: str
    swagger_files: str
    openapi: str
    routes: dict[str, Route]
    reference_query: str
    status: dict[str, str]
    document: dict[str, str]

    def path(self, name: str, base: str = "", **values: object) -> str:
        """Path of a route, for a `Location`; `values` must be safe in a path."""
        return (base or self.bases[0]) + self.version + self.routes[name].template.format(**values)


def load_contract(replacement: str = "") -> Contract:
    """The contract in force. Raises ConfigurationError for a file that cannot be read or has unknown keys."""
    own = tomllib.loads(files("batchseal.api").joinpath("contract.toml").read_text("utf-8"))
    table = overlay(own, read_replacement(Path(replacement)), replacement) if replacement else own
    routes = {name: parse_route(name, text) for name, text in table["route"].items()}
    for name, text in own["route"].items():
        if set(routes[name].parameters) != set(parse_route(name, text).parameters):
            raise ConfigurationError(f"contract: route {name}: its parameters must be those of {text!r}")
    address = table["address"]
    paths = {key: checked_path(key, address[key]) for key in address if key != "bases"}
    return Contract(
        bases=tuple(checked_path("bases", base) for base in address["bases"]),
        routes=routes,
        reference_query=table["query"]["externalReference"],
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
    merged = dict(own)
    for key, value in other.items():
        if key not in own or type(value) is not type(own[key]):
            raise ConfigurationError(
                f"--compat.contract: {where}: {key!r} is not a key of the contract, or of another type"
            )
        merged[key] = overlay(own[key], value, where) if isinstance(value, dict) else value
    return merged


def checked_path(key: str, path: str) -> str:
    if not re.fullmatch(r"(/[\w.~-]+)+", path):
        raise ConfigurationError(f"contract: {key}: {path!r} is not a path like /a/b")
    return path


def parse_route(name: str, text: str) -> Route:
    verb, _, path = text.partition(" ")
    template = "/" + path.strip("/")
    if verb not in VERBS or not re.fullmatch(r"(/([\w.~-]+|\{\w+\}))+", template) or template.count(REFERENCE) > 1:
        raise ConfigurationError(f"contract: route {name}: {text!r} is not 'VERB path/with/{{parameters}}'")
    return Route(name, verb, template)
