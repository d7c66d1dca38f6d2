"""The JSON schemas and the example in docs/ say of the client services files what the service reads and refuses."""

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from referencing import Registry, Resource

from batchseal.errors import ConfigurationError
from batchseal.settings.client_services import ClientServices
from batchseal.settings.services_files import CONFIG_KEYS, FILE_NAME, OWN_FILE_NAME, OWN_KEYS, read_config, read_own
from batchseal.settings.signatures import KEYS, POLICY_KEYS
from batchseal.settings.webhooks import KEYS as WEBHOOK_KEYS
from batchseal.visible.parsing import KEYS as VISIBLE_KEYS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
SCHEMA, OWN_SCHEMA = (
    json.loads((DOCS / name).read_text())
    for name in ("client-services-config.schema.json", "batchseal-services.schema.json")
)
EXAMPLE = json.loads((DOCS / "client-services-config.example.json").read_text())
REGISTRY: Registry[Any] = Registry().with_resource("client-services-config.schema.json", Resource.from_contents(SCHEMA))
DIGESTS = {
    bits: json.dumps(f"{'A' * length}{'=' * pad}") for bits, length, pad in ((1, 27, 1), (384, 64, 0), (512, 86, 2))
}
# Values that take the place of each value in the example: right for some, wrong for others.
WRONG_KINDS: tuple[Any, ...] = (None, "", "x", "a\nb", 7, 0, True, [], {}, ["T"])
WORDS = ("sha1", "sha512", "LTA", "attached", "XPATH", "EXCLUSIVE")
OTHERS = (*WRONG_KINDS, *WORDS, *(json.loads(digest) for digest in DIGESTS.values()))


def fits(table: Any, schema: Any = SCHEMA) -> bool:
    return bool(Draft202012Validator(schema, registry=REGISTRY).is_valid(table))


def is_read(table: Any, folder: Path, name: str = FILE_NAME) -> bool:
    path = folder / name
    path.write_text(json.dumps(table))
    try:
        read_config(path) if name == FILE_NAME else read_own(path)
    except ConfigurationError:
        return False
    return True


def places(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of every key, at every depth."""
    if isinstance(value, dict):
        for key, below in value.items():
            yield (*path, key)
            yield from places(below, (*path, key))


def holder(table: Any, place: tuple[str, ...]) -> Any:
    for key in place[:-1]:
        table = table[key]
    return table


def changed(table: Any, place: tuple[str, ...]) -> Iterator[Any]:
    """The table with another value at this place, without the key, and with the key misspelt."""
    for other in OTHERS:
        result = copy.deepcopy(table)
        holder(result, place)[place[-1]] = other
        yield result
    for spelt in (None, place[-1].upper(), place[-1] + "s", place[-1][:-1]):
        result = copy.deepcopy(table)
        value = holder(result, place).pop(place[-1])
        if spelt is not None:
            holder(result, place)[spelt] = value
        yield result


def own_of(table: Any) -> Any:
    return {name: {key: value for key, value in entry.items() if key in OWN_KEYS} for name, entry in table.items()}


def test_the_schemas_are_schemas() -> None:
    for schema in (SCHEMA, OWN_SCHEMA):
        Draft202012Validator.check_schema(schema)


def test_the_example_is_whole_and_is_read(tmp_path: Path) -> None:
    entry = EXAMPLE["my-client"]
    assert set(entry) == {*CONFIG_KEYS, *OWN_KEYS}
    assert set(entry["signature"]) == KEYS and set(entry["signature"]["signaturePolicy"]) == POLICY_KEYS
    assert set(entry["visibleSignature"]) == set(VISIBLE_KEYS) and set(entry["webhook"]) == set(WEBHOOK_KEYS)
    assert fits(EXAMPLE) and is_read(EXAMPLE, tmp_path)


def test_the_schema_knows_every_key_that_is_read_and_no_other() -> None:
    assert set(SCHEMA["$defs"]["entry"]["properties"]) == {*CONFIG_KEYS, *OWN_KEYS}
    assert set(SCHEMA["$defs"]["ownEntry"]["properties"]) == set(OWN_KEYS)
    signature = SCHEMA["$defs"]["signature"]["properties"]
    assert set(signature) == KEYS and set(signature["signaturePolicy"]["properties"]) == POLICY_KEYS
    assert set(SCHEMA["$defs"]["visibleSignature"]["properties"]) == set(VISIBLE_KEYS)
    assert set(SCHEMA["$defs"]["webhook"]["properties"]) == set(WEBHOOK_KEYS)


@pytest.mark.parametrize("place", list(places(EXAMPLE)), ids="/".join)
def test_the_schema_and_the_service_agree_on_every_value(place: tuple[str, ...], tmp_path: Path) -> None:
    for table in changed(EXAMPLE, place):
        assert fits(table) == is_read(table, tmp_path), table


OWN_EXAMPLE = own_of(EXAMPLE)


@pytest.mark.parametrize("place", list(places(OWN_EXAMPLE)), ids="/".join)
def test_they_agree_on_the_second_file(place: tuple[str, ...], tmp_path: Path) -> None:
    assert fits(OWN_EXAMPLE, OWN_SCHEMA)
    for table in changed(OWN_EXAMPLE, place):
        assert fits(table, OWN_SCHEMA) == is_read(table, tmp_path, OWN_FILE_NAME), table


@pytest.mark.parametrize("digest", [*DIGESTS, 256])
@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha384", "sha512", None])
def test_they_agree_on_the_length_of_each_digest(digest: int, algorithm: str | None, tmp_path: Path) -> None:
    table = copy.deepcopy(EXAMPLE)
    policy = table["my-client"]["signature"]["signaturePolicy"]
    policy["digestAlgorithm"] = algorithm
    if digest in DIGESTS:
        policy["digestValue"] = json.loads(DIGESTS[digest])
    assert (
        fits(table) == is_read(table, tmp_path) == (algorithm == f"sha{digest}" or (algorithm, digest) == (None, 256))
    )


@pytest.mark.parametrize("table", [{}, [], None, {"": {"secret": "s"}}, {"A": []}, {"A": {}}, {"A": {"secret": "s"}}])
def test_they_agree_on_the_whole_file(table: Any, tmp_path: Path) -> None:
    assert fits(table) == is_read(table, tmp_path)


def test_the_example_of_the_documentation_is_read(tmp_path: Path) -> None:
    """The two blocks are the two files."""
    page = (ROOT / "docs" / "pages" / "services-file.md").read_text("utf-8")
    first, second = map(json.loads, re.findall(r"```json\n(.*?)```", page, re.DOTALL))
    assert fits(first) and fits(second, OWN_SCHEMA)
    (tmp_path / FILE_NAME).write_text(json.dumps(first))
    (tmp_path / OWN_FILE_NAME).write_text(json.dumps(second))
    assert ClientServices.load(tmp_path / FILE_NAME, strict=True).ids() == [*first]
