"""Makes a contract.toml from the vendor's own OpenAPI document, and says what did not match.

A route of ours is matched by its method and path; where there is none of that path, by the words in it, the kind of its body and
the number of its parameters. What was matched by likeness is to be looked at by a person: the report names it.
"""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from batchseal.api.contract import Contract, Route
from batchseal.commands.migration.openapi_reading import PARAMETER, VERSIONED, Described

# From this likeness on (0 to 1) two routes, or the names of two fields, are taken for the same.
LIKE_ROUTE, LIKE_FIELD = 0.55, 0.75
WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+")
# Names that a parameter of ours may have elsewhere, in lower case.
OTHER_NAMES = {
    "externalReference": ("externalreference", "extref", "externalref", "reference", "ref"),
    "id": ("id", "operationid", "signoperationid", "operation"),
    "contentInResponse": ("contentinresponse", "withcontent", "content"),
    "ordinal": ("ordinal", "index", "documentindex", "position", "number"),
}
STATUS_ROUTES = ("status_by_reference", "status_by_id", "register_json", "register_files")
RESULT_ROUTES = ("result_by_reference", "result_by_id", "sign_json", "sign_files")


@dataclass(slots=True)
class Imported:
    """The values for a contract.toml, and what a person should know of each."""

    bases: list[str] = field(default_factory=list)
    version: str = ""
    routes: dict[str, str] = field(default_factory=dict)
    status: dict[str, str] = field(default_factory=dict)
    document: dict[str, str] = field(default_factory=dict)
    same: list[str] = field(default_factory=list)
    alike: list[str] = field(default_factory=list)
    unmatched: list[str] = field(default_factory=list)  # routes and fields of ours that the document does not have
    unknown: list[str] = field(default_factory=list)  # operations of the document that nothing here answers


def import_contract(described: Sequence[Described], own: Contract) -> Imported:
    """What the document says of each value of our contract."""
    result = Imported()
    left = list(described)
    matched: dict[str, Described] = {}
    for name, route in own.routes.items():  # first what is the same, so that nothing else takes it
        if found := next((one for one in left if _is_same(one, route)), None):
            matched[name] = found
            left.remove(found)
            result.same.append(f"{name}: {found.method} {found.route}")
    for name, route in own.routes.items():
        if name not in matched and (likely := _likeliest(route, left)) is not None:
            matched[name] = likely
            left.remove(likely)
            result.alike.append(
                f"{name}: ours is {route.verb} {route.template.strip('/')}, theirs {likely.method} {likely.route}"
            )
    for name, route in own.routes.items():
        if name not in matched:
            result.unmatched.append(f"route {name} ({route.verb} {route.template.strip('/')})")
        elif (template := _template(route, matched[name])) is None:
            result.unmatched.append(f"route {name}: its parameters {', '.join(matched[name].parameters)} are not ours")
        else:
            result.routes[name] = f"{route.verb} {template}"
    result.unknown = [f"{one.method} {one.path}" for one in left]
    _take_addresses(result, matched.values(), own)
    _take_fields(result, matched, own)
    return result


def _is_same(one: Described, route: Route) -> bool:
    plain = PARAMETER.sub("{}", one.route), PARAMETER.sub("{}", route.template.strip("/"))
    return one.method == route.verb and plain[0].lower() == plain[1].lower()


def _likeliest(route: Route, left: Sequence[Described]) -> Described | None:
    """The operation that is most like a route of ours, if one is like it at all and no other is as much."""
    scored = sorted(((_likeness(route, one), number) for number, one in enumerate(left)), reverse=True)
    scored = [one for one in scored if one[0] >= LIKE_ROUTE]
    if not scored or (len(scored) > 1 and scored[0][0] == scored[1][0]):
        return None
    return left[scored[0][1]]


def _likeness(route: Route, one: Described) -> float:
    takes_files = route.name in ("sign_files", "register_files")
    takes_json = route.name in ("sign_json", "register_json")
    if one.method != route.verb or len(one.parameters) != len(route.parameters):
        return 0.0
    if (takes_files and not one.multipart) or (takes_json and one.multipart):
        return 0.0
    ours, theirs = _words(route.template), _words(one.route)
    return len(ours & theirs) / max(1, len(ours | theirs))


def _words(path: str) -> set[str]:
    return {word.lower() for word in WORDS.findall(PARAMETER.sub("", path))}


def _template(route: Route, one: Described) -> str | None:
    """The path of the document with our names of its parameters; None where they cannot be told apart."""
    names: dict[str, str] = {}
    free = list(route.parameters)
    for parameter in one.parameters:
        plain = parameter.lower().replace("_", "").replace("-", "")
        meant = next((own for own in free if plain in OTHER_NAMES.get(own, (own.lower(),))), None)
        if meant is None and len(free) == 1 == len(one.parameters):
            meant = free[0]
        if meant is None:
            return None
        free.remove(meant)
        names[parameter] = meant
    return PARAMETER.sub(lambda match: "{" + names[match[1]] + "}", one.route)


def _take_addresses(result: Imported, matched: Iterable[Described], own: Contract) -> None:
    """The base path and the version, as most of the matched operations have them."""
    found = [match for one in matched if (match := VERSIONED.match(one.path))]
    if not found:
        result.unmatched.append("base path and version: no path has /api/vN in it")
        return
    bases, versions = ([match[part] for match in found] for part in ("base", "version"))
    base, version = (max(set(values), key=values.count) for values in (bases, versions))
    result.version = version
    if not base:
        result.unmatched.append("base path: the document names none (servers or basePath); ours is kept")
        result.bases = list(own.bases)
    else:
        result.bases = [base, *(one for one in own.bases if one != base)]
    if base and base not in own.bases:
        result.alike.append(f"base path: ours is {own.bases[0]}, theirs {base}; both are answered")


def _take_fields(result: Imported, matched: Mapping[str, Described], own: Contract) -> None:
    """The names of the fields that no public document fixes."""
    for table, routes, into in (
        (own.status, STATUS_ROUTES, result.status),
        (own.document, RESULT_ROUTES, result.document),
    ):
        fields = frozenset[str]().union(*(matched[name].fields for name in routes if name in matched))
        if not fields:
            result.unmatched.append(f"fields {', '.join(table)}: the document does not describe these replies")
            continue
        for name, sent in table.items():
            if sent in fields:
                continue
            like = difflib.get_close_matches(sent.lower(), [one.lower() for one in fields], n=1, cutoff=LIKE_FIELD)
            theirs = next((one for one in fields if like and one.lower() == like[0]), None)
            if theirs is None or theirs in table.values():
                result.unmatched.append(f"field {sent}: the document has none like it; ours is sent beside what it has")
            else:
                into[name] = theirs
                result.alike.append(f"field {sent}: theirs is {theirs}")


def as_toml(imported: Imported, own: Contract, source: str) -> str:
    """The contract.toml, with what differs from ours."""
    lines = [f"# From {source}, by `batchseal migrate contract`. Give it to --compat.contract."]
    lines += [f"# Look at this: {text}" for text in imported.alike]
    lines += [f"# Not in the document, so ours is kept: {text}" for text in imported.unmatched]
    address = []
    if imported.bases and tuple(imported.bases) != own.bases:
        address.append("bases = [" + ", ".join(map(_quoted, imported.bases)) + "]")
    if imported.version and imported.version != own.version:
        address.append(f"version = {_quoted(imported.version)}")
    routes = [
        f"{name} = {_quoted(text)}"
        for name, text in imported.routes.items()
        if text != f"{own.routes[name].verb} {own.routes[name].template.strip('/')}"
    ]
    tables = {
        "address": address,
        "route": routes,
        "status": [f"{name} = {_quoted(text)}" for name, text in imported.status.items()],
        "document": [f"{name} = {_quoted(text)}" for name, text in imported.document.items()],
    }
    for table, values in tables.items():
        lines += ["", f"[{table}]", *values] if values else []
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
