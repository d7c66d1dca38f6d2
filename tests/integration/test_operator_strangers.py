"""What the operator's page bears of those who are not signed in, and of what stands beside it in a browser."""

import re
from collections.abc import Iterator

import pytest
from tests.support.operator_page import OperatorService, add_accounts, operator_service


@pytest.fixture(scope="module")
def page() -> Iterator[OperatorService]:
    with operator_service("--operator-totp=none") as page:
        add_accounts(page, "viewer", "operator")
        yield page


def test_what_strangers_send_is_kept_in_little_memory(page: OperatorService) -> None:
    stranger = page.visitor()
    assert stranger.sign_in("viewer", more="a" * 16_500).status == 413
    assert stranger.sign_in("viewer", **{f"more{n}": "a" for n in range(20)}).status == 400
    assert stranger.get("/login?" + "&".join(f"{n}=a" for n in range(200))).status == 400
    selected = {f"more{n}": "a" for n in range(5_000)}
    asked = page.signed_in("operator").post("/operations/confirm", {"action": "retry", "id": "1", **selected})
    assert asked.status == 200, "who is signed in may send a large form"


def test_cookies_of_other_services_of_the_host_keep_nobody_out(page: OperatorService) -> None:
    visitor = page.visitor()
    visitor.cookies = {"path": "/", "prefs": '{"dark": true}', "a@b": "1"}
    assert visitor.sign_in("viewer").status == 303
    assert visitor.get("/operations").status == 200


def test_a_browser_keeps_a_file_only_under_the_digest_of_its_content(page: OperatorService) -> None:
    stranger = page.visitor()
    found = re.search(r"/static/([0-9a-f]{12})/page\.js", stranger.get("/login").text)
    assert found is not None
    here, elsewhere = stranger.get(found[0]), stranger.get("/static/000000000000/page.js")
    assert here.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert (elsewhere.text, elsewhere.headers["cache-control"]) == (here.text, "no-cache")
