"""contract.toml, an operator's file that replaces parts of it, and the OpenAPI document that is made from both."""

import json
from pathlib import Path

import openapi_spec_validator
import pytest

from batchseal.api.address import Addresses
from batchseal.api.contract import load_contract
from batchseal.api.openapi import openapi_document
from batchseal.errors import ConfigurationError


def replaced(tmp_path: Path, text: str) -> str:
    path = tmp_path / "contract.toml"
    path.write_text(text)
    return str(path)


def test_documented_addresses_stand_as_they_are_documented() -> None:
    contract = load_contract()
    assert contract.bases[0] == "/signstash/einvoice-integration-client-ws"
    assert contract.token == "/oauth2/authorization-server/oauth/token"
    assert contract.path("sign_json") == contract.bases[0] + "/api/v0/document/sign/base64"
    assert contract.path("status_by_id", id=7) == contract.bases[0] + "/api/v0/operation/status/7"


def test_a_replacement_changes_what_it_names_and_nothing_else(tmp_path: Path) -> None:
    text = """
        [route]
        register_json = "PUT asynchronous/{externalReference}/x"
        status_by_reference = "GET asynchronous/{externalReference}/status"
        [status]
        documentsTotal = "total"
        [document]
        causeMessage = "cause"
    """
    with pytest.raises(ConfigurationError, match="register_json"):
        load_contract(replaced(tmp_path, text))
    contract = load_contract(replaced(tmp_path, text.replace("/{externalReference}/x", "/x")))
    assert (contract.routes["register_json"].verb, contract.routes["register_json"].template) == (
        "PUT",
        "/asynchronous/x",
    )
    assert contract.routes["sign_json"] == load_contract().routes["sign_json"]
    assert contract.status["documentsTotal"] == "total"
    address = Addresses(contract).resolve(contract.bases[0].encode() + b"/api/v0/asynchronous/a%2F/b/status/", b"")
    assert (address.path.decode(), address.reference) == (contract.bases[0] + "/api/v0/asynchronous/status", "a//b")
    document = json.loads(openapi_document(contract))
    openapi_spec_validator.validate(document)
    assert "total" in document["components"]["schemas"]["StatusEntry"]["properties"]
    assert "cause" in document["components"]["schemas"]["SignedDocument"]["properties"]


@pytest.mark.parametrize(
    "text",
    [
        "[rout]\nx = 1",
        "[route]\nnew = 'GET a'",
        "[route]\nsign_json = 'DELETE a'",
        "[route]\nsign_json = 'POST a b'",
        "[route]\nstatus_by_id = 'GET status'",
        "[address]\nbases = '/a'",
        "[address]\nbases = []",
        "[address]\nbases = [1]",
        "[address]\ntoken = 'a b'",
        "not toml",
    ],
)
def test_a_replacement_that_fits_nothing_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigurationError):
        load_contract(replaced(tmp_path, text))


def test_a_replacement_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigurationError):
        load_contract("/nonexistent/contract.toml")


def test_the_openapi_document_is_valid_and_has_every_route() -> None:
    contract = load_contract()
    document = json.loads(openapi_document(contract))
    openapi_spec_validator.validate(document)
    operations = {verb["operationId"] for path in document["paths"].values() for verb in path.values()}
    assert operations == {*contract.routes, "token", "live", "ready", "metrics"}
