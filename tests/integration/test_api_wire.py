"""The addresses and bodies of the contract, over real sockets."""

import base64
import io
import json
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
import requests
from tests.support.api_service import BASE, Service, basic, document, head, sign_request
from tests.support.api_worker import SUFFIX


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(tmp_path_factory.mktemp("api"), sync_deadline=1)
    yield service
    assert service.stop() == 0


def body_of(reply: bytes) -> bytes:
    """The body of a raw HTTP reply, which may be chunked."""
    headers, _, body = reply.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" not in headers.lower():
        return body
    whole = b""
    while body:
        size, _, rest = body.partition(b"\r\n")
        whole, body = whole + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
        if int(size, 16) == 0:
            return whole
    raise AssertionError("the body is not ended")


def test_three_calls_of_a_live_client(service: Service) -> None:
    """The bytes of a client in use: grant in the query, repeated slash, lower-case `bearer`, Python's `True`."""
    reply = service.raw(
        b"POST /oauth2/authorization-server/oauth/token?grant_type=client_credentials HTTP/1.1\r\nHost: h\r\n"
        + basic()
        + b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
    assert reply.startswith(b"HTTP/1.1 200 ")
    token = json.loads(body_of(reply))
    assert set(token) == {"access_token", "token_type", "expires_in", "scope", "jti"}
    bearer = f"Authorization: bearer {token['access_token']}\r\nConnection: close\r\n".encode()
    content = base64.b64encode(b"%PDF-1.4").decode()
    body = (
        '{"description":"Some context.","externalReference":"Ext_Ref FT 2021/5 2026112112:00:00","documents":'
        '[{"documentRequest":{"base64Content":"' + content + '",'
        '"contentType":"application/pdf","externalReference":"Ext_Ref_constant","name":"fatura.pdf"},'
        '"signatureInfo":{"signatureType":"PAdES","applyTimestamp":false,"location":"Oeiras","reason":"API",'
        '"visibleSignatureInfo":null}}]}'
    ).encode()
    reply = service.raw(
        b"POST /signstash/einvoice-integration-client-ws/api/v0/document/sign/base64// HTTP/1.1\r\nHost: h\r\n"
        + bearer
        + b"Content-Type: application/json\r\nAccept: */*\r\nContent-Length: %d\r\n\r\n" % len(body)
        + body
    )
    assert reply.startswith(b"HTTP/1.1 200 ")
    assert b"error" not in reply
    signed = json.loads(body_of(reply))
    assert base64.b64decode(signed["documentList"][0]["signedContent"]) == b"%PDF-1.4" + SUFFIX
    path = f"/signstash/einvoice-integration-client-ws/api/v0/operation/sign/detail/{signed['id']}"
    reply = service.raw(f"GET {path}/contentInResponse/True HTTP/1.1\r\nHost: h\r\n".encode() + bearer + b"\r\n")
    result = json.loads(body_of(reply))
    assert result["status"] == "EXECUTED"
    assert result["documentList"][0]["signedContent"] == signed["documentList"][0]["signedContent"]


@pytest.mark.parametrize("where", ["query", "body"])
def test_token_takes_the_grant_in_query_or_body(service: Service, where: str) -> None:
    fields = {"grant_type": "client_credentials"}
    options: dict[str, Any] = {"params": fields} if where == "query" else {"data": fields}
    address = service.url + "//oauth2/authorization-server/oauth/token/"
    assert requests.post(address, auth=("one", "s1"), **options).json()["expires_in"] == 3600
    refused = requests.post(address, auth=("one", "wrong"), **options)
    assert (refused.status_code, refused.json()["errorCode"], refused.json()["error"]) == (
        401,
        "1.1.0",
        "invalid_client",
    )
    wrong = requests.post(address, auth=("one", "s1"), data={"grant_type": "password"})
    assert (wrong.status_code, wrong.json()["errorCode"]) == (400, "0.0.6")


@pytest.mark.parametrize("where", ["params", "data"])
def test_a_parameter_with_two_values_is_refused(service: Service, where: str) -> None:
    address = service.url + "/oauth2/authorization-server/oauth/token"
    twice: dict[str, Any] = {"client_id": ["one", "two"], "client_secret": "s1"}
    options: dict[str, Any] = {where: twice}
    refused = requests.post(address, **options)
    assert (refused.status_code, refused.json()["error"]) == (400, "invalid_request")
    assert "s1" not in refused.text
    options = {where: twice | {"client_id": ["one", "one"]}}
    assert requests.post(address, **options).status_code == 200


def test_register_status_and_result_by_reference(service: Service) -> None:
    request = sign_request("FT 2021/5: ç", "error.pdf", "refused.pdf")
    reply = service.post("/async/document/sign/base64/", json=request)
    assert reply.status_code == 200
    registered = reply.json()
    assert set(registered) == {"id", "status", "externalReference", "host", "port"}
    assert reply.headers["location"] == f"{BASE}/operation/status/{registered['id']}"
    assert int(reply.headers["retry-after"]) >= 1
    for path in (
        "/async/operation/status/withExternalReference/FT%202021%2F5%3A%20%C3%A7",
        "//async///operation/status/withExternalReference/FT%202021/5:%20%C3%A7",
        "/async/operation/status/withExternalReference?externalReference=FT+2021%2F5%3A+%C3%A7",
        "/async/operation/status/withExternalReference/?externalReference=FT%202021/5:%20%C3%A7",
    ):
        (entry,) = service.get(path).json()
        assert entry["id"] == registered["id"]
        assert (entry["documentsTotal"], entry["documentsSigned"], entry["documentsFailed"]) == (2, 1, 1)
    path = "/async/operation/sign/detail/withExternalReference/FT%202021%2F5%3A%20%C3%A7"
    result = service.get(path)
    assert b"error" not in result.content
    assert result.json()["status"] == "EXECUTION_FAILED"
    assert list(result.json())[-1] == "status"
    first, second = result.json()["documentList"]
    assert (first["name"], first["signStatus"]) == ("error.pdf", "SIGNED")
    assert (second["signStatus"], second["signError"]) == ("ERROR_SIGNING", "CONFIGURATION_SIGN_ERROR")
    assert second["causeMessage"] == "refused.pdf: visible signatures are not offered"
    assert "signedContent" not in second
    assert [d["internalId"] for d in (first, second)] == [registered["id"] * 1_000_000 + n for n in (1, 2)]
    assert service.get(path, auth=("two", "s2")).status_code == 404


def test_a_taken_reference_names_its_operation(service: Service) -> None:
    operation_id = service.registered("taken", "a.pdf")
    reply = service.post("/async/document/sign/base64/", json=sign_request("taken", "a.pdf"))
    assert (reply.status_code, reply.json()["errorCode"], reply.json()["id"]) == (409, "0.0.7", operation_id)
    assert service.session.get(service.url + reply.headers["location"]).json()["id"] == operation_id


def test_prefer_respond_async_and_wait(service: Service) -> None:
    prefer = {"Prefer": "respond-async"}
    reply = service.post("/document/sign/base64/", json=sign_request("prefer", "later.pdf"), headers=prefer)
    assert (reply.status_code, reply.headers["preference-applied"]) == (202, "respond-async")
    waited = service.session.get(service.url + reply.headers["location"], headers={"Prefer": "wait=1"})
    assert waited.elapsed.total_seconds() >= 1
    assert waited.json()["status"] == "PENDING_EXECUTION"
    early = service.get("/async/operation/sign/detail/withExternalReference/prefer")
    assert (early.status_code, early.json()["errorCode"]) == (409, "batchseal.not_finished")
    assert "retry-after" in early.headers


def test_sync_that_takes_too_long_names_its_operation(service: Service) -> None:
    reply = service.post("/document/sign/base64/", json=sign_request("late", "later.pdf"))
    assert (reply.status_code, reply.json()["errorCode"]) == (503, "batchseal.not_done_in_time")
    assert reply.headers["location"].endswith(f"/operation/status/{reply.json()['id']}")


def test_sync_without_one_signed_document_is_a_problem(service: Service) -> None:
    reply = service.post("/document/sign/base64/", json=sign_request("none", "refused1.pdf", "refused2.pdf"))
    assert (reply.status_code, reply.headers["content-type"]) == (400, "application/problem+json")
    assert reply.json()["causeMessage"] == "refused1.pdf: visible signatures are not offered"


def test_sync_of_documents_that_cannot_be_signed_is_no_fault_of_the_service(service: Service) -> None:
    request = sign_request("locked", "encrypted1.pdf", "encrypted2.pdf")
    reply = service.post("/document/sign/base64/", json=request)
    assert (reply.status_code, reply.json()["errorCode"]) == (422, "batchseal.not_signable")
    assert reply.json()["causeMessage"] == "encrypted1.pdf: the PDF is encrypted"
    assert "retry-after" not in reply.headers
    status = service.get(f"/operation/status/{reply.json()['id']}").json()
    assert status["status"] == "EXECUTION_FAILED"  # a 422 never stands for an operation that goes on


def test_sync_that_fails_with_the_signing_service_may_be_sent_again(service: Service) -> None:
    reply = service.post("/document/sign/base64/", json=sign_request("trouble", "encrypted.pdf", "unstamped.pdf"))
    assert (reply.status_code, reply.json()["errorCode"]) == (503, "batchseal.signing_unavailable")
    assert int(reply.headers["retry-after"]) > 0
    assert reply.json()["causeMessage"] == "unstamped.pdf: no authority answers"


def test_a_damaged_document_is_not_executed(service: Service) -> None:
    operation_id = service.registered("damage", "a.pdf", "damaged.pdf")
    result = service.get(f"/operation/sign/detail/{operation_id}/contentInResponse/true").json()
    assert result["status"] == "EXECUTION_FAILED"
    assert result["documentList"][1]["signError"] == "STORAGE_SERVICE_GLOBAL_ERROR"


def test_a_reply_that_breaks_is_never_ended_as_if_whole(service: Service) -> None:
    operation_id = service.registered("breaks", "many2.pdf", "breaks.pdf")
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        service.get(f"/operation/sign/detail/{operation_id}/contentInResponse/true")
    # The reply for a small result has not begun by then, so it can still be a 500.
    operation_id = service.registered("breaks early", "one.pdf", "breaks.pdf")
    assert service.get(f"/operation/sign/detail/{operation_id}/contentInResponse/true").status_code == 500


def test_a_payload_that_is_away_is_asked_for_again(service: Service) -> None:
    """The caller gets 503 before the first byte of the result, for every size of result and on every route."""
    for name, names in {"small": ["away.pdf"], "large": ["away.pdf", "many2.pdf"]}.items():
        operation_id = service.registered(f"away {name}", *names)
        for path, accept in (
            (f"/operation/sign/detail/{operation_id}/contentInResponse/true", "*/*"),
            (f"/operation/sign/detail/{operation_id}/contentInResponse/true", "application/zip"),
            (f"/async/operation/sign/detail/withExternalReference/away%20{name}", "*/*"),
            (f"/operation/sign/detail/{operation_id}/documents", "*/*"),
            (f"/operation/sign/detail/{operation_id}/documents/0", "*/*"),
        ):
            reply = service.get(path, headers={"Accept": accept})
            assert (reply.status_code, reply.json()["errorCode"]) == (503, "batchseal.payload_unavailable"), path
            assert int(reply.headers["retry-after"]) > 0
        # Requests that do not need the payload are answered.
        status = service.get(f"/async/operation/status/withExternalReference/away%20{name}")
        assert status.json()[0]["status"] == "EXECUTED"
        assert service.get(f"/operation/sign/detail/{operation_id}/contentInResponse/false").status_code == 200


def test_a_synchronous_result_that_is_away_names_its_operation(service: Service) -> None:
    reply = service.post("/document/sign/base64/", json=sign_request("away sync", "away.pdf"))
    assert (reply.status_code, reply.json()["errorCode"]) == (503, "batchseal.payload_unavailable")
    assert reply.headers["location"].endswith(f"/operation/status/{reply.json()['id']}")


@pytest.mark.parametrize("accept", ["application/json", "application/zip"])
def test_a_payload_that_goes_away_while_it_is_sent_breaks_the_reply_off(service: Service, accept: str) -> None:
    operation_id = service.registered(f"goes away {accept}", "many2.pdf", "away.pdf")
    path = f"/operation/sign/detail/{operation_id}/contentInResponse/true"
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        service.get(path, headers={"Accept": accept})


def test_what_storage_did_not_give_back_whole_was_not_fetched(service: Service) -> None:
    before = service.count("fetched")
    damaged = service.registered("not fetched", "a.pdf", "damaged.pdf")
    away = service.registered("not fetched either", "many2.pdf", "away.pdf")
    for operation_id in (damaged, away):
        for path in ("contentInResponse/true", "documents"):
            with suppress(requests.exceptions.ChunkedEncodingError):
                service.get(f"/operation/sign/detail/{operation_id}/{path}")
    good = service.registered("fetched after them", "a.pdf", "refused.pdf")
    assert service.get(f"/operation/sign/detail/{good}/contentInResponse/true").status_code == 200
    service.until("fetched", before + 1)


def test_zip(service: Service) -> None:
    operation_id = service.registered("zip", "a.pdf", "../a.pdf", "refused.pdf", "a.pdf")
    for reply in (
        service.get(f"/operation/sign/detail/{operation_id}/documents"),
        service.get("/async/operation/sign/detail/withExternalReference/zip", headers={"Accept": "application/zip"}),
    ):
        assert reply.headers["content-type"] == "application/zip"
        archive = zipfile.ZipFile(io.BytesIO(reply.content))
        names = ["Ext_Ref_constant.a.pdf", "Ext_Ref_constant..._a.pdf", "Ext_Ref_constant.a (2).pdf"]
        assert archive.namelist() == names
        assert archive.testzip() is None
        assert archive.read(names[0]).endswith(SUFFIX)


def test_one_document_and_its_ranges(service: Service) -> None:
    operation_id = service.registered("range", "a.pdf", "refused.pdf")
    path = f"/operation/sign/detail/{operation_id}/documents/0"
    whole = service.get(path)
    content = b"%PDF-1.4 small" + SUFFIX
    assert (whole.content, whole.headers["content-type"]) == (content, "application/pdf")
    part = service.get(path, headers={"Range": "bytes=5-7"})
    assert (part.status_code, part.content) == (206, content[5:8])
    assert part.headers["content-range"] == f"bytes 5-7/{len(content)}"
    assert service.get(path, headers={"Range": "bytes=-4"}).content == content[-4:]
    assert service.get(path, headers={"Range": "bytes=900-"}).status_code == 416
    stale = service.get(path, headers={"Range": "bytes=5-7", "If-Range": '"other"'})
    assert (stale.status_code, stale.content) == (200, content)
    assert service.session.head(service.url + BASE + path).headers["content-length"] == str(len(content))
    assert "refused.pdf" in service.get(path[:-1] + "1").json()["causeMessage"]
    assert service.get(path[:-1] + "2").status_code == 404


def test_operation_of_a_document_is_a_bare_integer(service: Service) -> None:
    request = sign_request("bare")
    request["documents"] = [document("a.pdf", "slash/ref")]
    operation_id = service.post("/async/document/sign/base64/", json=request).json()["id"]
    reply = service.get("/operation/id/withDocumentExternalReference/slash%2Fref")
    assert reply.content == str(operation_id).encode()


def test_multipart_is_handed_over_as_it_is(service: Service) -> None:
    files = {"files": ("a.pdf", b"x" * 100_000, "application/pdf")}
    reply = service.post("/async/document/sign/", files=files, data={"signRequest": "{}"})
    assert reply.json()["externalReference"] == reply.request.headers["content-type"]
    assert service.count("received") == int(reply.request.headers["content-length"])
    wrong = service.post("/async/document/sign/", json={})
    assert (wrong.status_code, wrong.json()["errorCode"]) == (400, "0.0.2")


def test_the_alias_base_answers_with_itself(service: Service) -> None:
    alias = BASE.replace("-client-ws", "-ws")
    url = service.url + alias + "/async/document/sign/base64"
    reply = service.session.post(url, json=sign_request("alias", "a.pdf"))
    assert reply.headers["location"].startswith(alias)


def test_unknown_addresses_and_methods(service: Service) -> None:
    assert service.get("/operation/status/x").status_code == 404
    assert service.get("/operation/status/99999999999999999999").status_code == 404
    assert requests.get(service.url + "/nothing").json()["errorCode"] == "batchseal.not_found"
    refused = requests.delete(service.url + "/health/live")
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, HEAD")
    # Its address has no path. That is the one of the page about the API, which takes GET alone.
    assert service.raw(head("CONNECT", "h:1", b"Connection: close\r\n")).startswith(b"HTTP/1.1 405 ")


def test_health_and_metrics_need_no_credentials(service: Service) -> None:
    assert requests.get(service.url + "/health/live").json()["status"] == "UP"
    assert requests.get(service.url + "/health/ready").json() == {"status": "UP", "checks": {"database": "ok"}}
    assert 'batchseal_requests_total{route="live",status="200"}' in requests.get(service.url + "/metrics").text


def test_strangers_are_told_only_whether_the_service_is_ready(service: Service) -> None:
    url, foreign = service.url + "/health/ready", {"X-Forwarded-For": "192.0.2.7"}
    assert requests.get(url, headers=foreign).json() == {"status": "UP", "checks": {}}
    for wrong in (("one", "wrong"), ("off", "s3")):
        reply = requests.get(url, headers=foreign, auth=wrong)
        assert (reply.status_code, reply.json()["checks"]) == (
            200,
            {},
        )  # a wrong secret does not make the service seem down
    bad = requests.get(url, headers=foreign | {"Authorization": "Bearer x"})
    assert (bad.status_code, bad.json()["checks"]) == (200, {})
    token = requests.post(service.url + "/oauth2/authorization-server/oauth/token", auth=("one", "s1")).json()
    bearer = {"Authorization": f"Bearer {token['access_token']}"}
    assert requests.get(url, headers=foreign, auth=("one", "s1")).json()["checks"] == {"database": "ok"}
    assert requests.get(url, headers=foreign | bearer).json()["checks"] == {"database": "ok"}


@pytest.mark.parametrize(
    "lines",
    [
        (basic(), basic()),
        (basic(), b"Authorization: Bearer x\r\n"),
        (basic(), b"authorization:\r\n"),
        (basic(), b"Content-Type: application/json\r\n", b"Content-Type: text/plain\r\n"),
        (basic(), b"Transfer-Encoding: gzip, chunked\r\n"),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused(service: Service, lines: tuple[bytes, ...]) -> None:
    # The request is complete: otherwise the server may wait for the rest of the body before it closes the connection.
    end = b"0\r\n\r\n" if any(line.startswith(b"Transfer-Encoding") for line in lines) else b""
    reply = service.raw(head("POST", BASE + "/document/sign/base64/", *lines, b"Connection: close\r\n") + end)
    assert reply.startswith(b"HTTP/1.1 400 ")
    assert json.loads(body_of(reply))["errorCode"] == "0.0.2"


def test_no_reply_is_kept_or_guessed_at_and_none_names_a_version(service: Service) -> None:
    operation_id = service.registered("private", "a.pdf")
    base = service.url + BASE.removesuffix("/api/v0")
    for url in (
        *(service.url + path for path in ("/health/live", "/health/ready", "/metrics", "/nothing")),
        *(
            base + path
            for path in ("/swagger-ui.html", "/swagger-ui/swagger-ui.css", "/swagger-ui/start.js", "/openapi.json")
        ),
        *(f"{service.url}{BASE}/operation/{path}" for path in (f"status/{operation_id}", "status/1", "status/x")),
        *(
            f"{service.url}{BASE}/operation/sign/detail/{operation_id}/{path}"
            for path in ("contentInResponse/true", "contentInResponse/false", "documents", "documents/0")
        ),
    ):
        for reply in (service.session.get(url), service.session.head(url), service.session.delete(url)):
            assert reply.headers["cache-control"] == "no-store", url
            assert reply.headers["x-content-type-options"] == "nosniff", url
            assert not any(letter.isdigit() for letter in reply.headers.get("server", "")), url
    reply = requests.post(service.url + "/oauth2/authorization-server/oauth/token", auth=("one", "s1"))
    assert (reply.headers["cache-control"], reply.headers["x-content-type-options"]) == ("no-store", "nosniff")


def test_a_secret_in_an_address_is_warned_of_once(service: Service) -> None:
    def warnings() -> str:
        lines = service.log.read_text().splitlines()
        return "\n".join(line for line in lines if "address of a token request" in line)

    address = service.url + "/oauth2/authorization-server/oauth/token"
    in_address = {"client_id": "two", "client_secret": "s2"}
    assert requests.post(address, data=in_address).status_code == 200
    assert requests.post(address, params=in_address | {"client_secret": "wrong"}).status_code == 401
    assert requests.post(address, params={"client_id": "stranger", "client_secret": "s"}).status_code == 401
    assert "two" not in warnings()
    for _ in range(3):
        assert requests.post(address, params=in_address).status_code == 200
        assert requests.post(address, params={"client_secret": "s2"}, auth=("two", "s2")).status_code == 200
    assert warnings().count("two") == 1
    assert "s2" not in warnings()


def test_swagger_comes_from_local_files(service: Service) -> None:
    base = service.url + BASE.removesuffix("/api/v0")
    page = requests.get(base + "/swagger-ui.html").text
    assert "http" not in page
    for name in ("swagger-ui-bundle.js", "swagger-ui.css", "start.js"):
        path = next(part.split('"')[0] for part in page.split('="') if part.split('"')[0].endswith(name))
        assert requests.get(service.url + path).status_code == 200
    assert requests.get(base + "/openapi.json").json()["openapi"] == "3.1.0"
    assert requests.get(base + "/swagger-ui/..%2f__init__.py").status_code == 404
