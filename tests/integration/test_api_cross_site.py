"""What a browser sends at the wish of another site's page is refused, over real sockets."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
import requests
from tests.support.api_service import Service, sign_request


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(tmp_path_factory.mktemp("api"), sync_deadline=1)
    yield service
    assert service.stop() == 0


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 200),
        (
            {"Sec-Fetch-Site": "same-origin", "Origin": "https://gateway.example"},
            200,
        ),  # a proxy may have changed the host
        ({"Sec-Fetch-Site": "none"}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "own"}, 200),
    ],
)
@pytest.mark.parametrize("path", ["/document/sign/base64/", "/async/document/sign/base64/", "token"])
def test_a_page_of_another_site_signs_nothing(service: Service, fields: dict[str, str], status: int, path: str) -> None:
    """The browser of somebody who has logged in sends the credentials along, whatever page asks it to."""
    headers = fields | ({"Origin": service.url} if fields.get("Origin") == "own" else {})
    if path == "token":
        address = service.url + "/oauth2/authorization-server/oauth/token?grant_type=client_credentials"
        reply = requests.post(address, auth=("one", "s1"), headers=headers, timeout=120)
    else:
        reference = f"site-{uuid4().hex}"
        reply = service.post(path, json=sign_request(reference, "a.pdf"), headers=headers)
        found = service.get(f"/async/operation/status/withExternalReference/{reference}", headers=headers)
        assert found.status_code == (404 if status == 403 else 200)
    assert reply.status_code == status
    if status == 403:
        assert reply.json()["errorCode"] == "batchseal.cross_site"
