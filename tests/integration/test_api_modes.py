"""The service without a file of client services, without room, with the statuses of the original, with another contract."""

from pathlib import Path

import requests
from tests.support.api_service import Service, sign_request


def test_without_a_configuration_file_it_serves_synchronous_requests_only(tmp_path: Path) -> None:
    service = Service(tmp_path, clients=None)
    try:
        service.session.auth = None
        service.session.headers["Authorization"] = "bearer foreign-stranger"
        signed = service.post("/document/sign/base64/", json=sign_request("sync", "a.pdf"))
        assert signed.json()["status"] == "EXECUTED"
        refused = service.post("/async/document/sign/base64/", json=sign_request("async", "a.pdf"))
        assert (refused.status_code, refused.json()["errorCode"]) == (500, "0.0.3")
        token = requests.post(service.url + "/oauth2/authorization-server/oauth/token", auth=("one", "s1"))
        assert token.json()["errorCode"] == "0.0.3"
    finally:
        service.stop()


def test_the_originals_status_codes(tmp_path: Path) -> None:
    service = Service(tmp_path, compat_vendor_status_codes=True)
    try:
        reply = service.post("/document/sign/base64/", data=b"{", headers={"Content-Type": "application/json"})
        assert (reply.status_code, reply.json()["status"], reply.json()["errorCode"]) == (500, 500, "0.0.2")
        assert service.get("/operation/status/1", auth=("one", "x")).status_code == 401
        for name, status in {"encrypted.pdf": 500, "refused.pdf": 500, "unstamped.pdf": 503}.items():
            reply = service.post("/document/sign/base64/", json=sign_request(name, name))
            assert (reply.status_code, reply.json()["status"]) == (status, status), name
    finally:
        service.stop()


def test_another_contract(tmp_path: Path) -> None:
    contract = tmp_path / "contract.toml"
    contract.write_text(
        "[route]\nregister_json = 'PUT async/sign'\nstatus_by_reference = 'GET async/{externalReference}/status'\n"
        "[status]\ndocumentsTotal = 'total'\n"
    )
    service = Service(tmp_path, compat_contract=str(contract))
    try:
        url = service.url + "/signstash/einvoice-integration-client-ws/api/v0/async"
        assert service.session.put(url + "/sign", json=sign_request("a/b", "a.pdf")).status_code == 200
        (entry,) = service.session.get(url + "/a%2Fb/status").json()
        assert entry["total"] == 1
        assert service.post("/async/document/sign/base64/", json=sign_request("c", "a.pdf")).status_code == 404
    finally:
        service.stop()


def test_a_synchronous_result_without_room_names_its_operation(tmp_path: Path) -> None:
    service = Service(tmp_path)
    try:
        reply = service.post("/document/sign/base64/", json=sign_request("crowded", "crowded.pdf"))
        assert (reply.status_code, reply.json()["errorCode"]) == (503, "batchseal.no_room")
        assert reply.headers["retry-after"] == "3"
        assert reply.headers["location"].endswith(f"/operation/status/{reply.json()['id']}")
    finally:
        service.stop()
