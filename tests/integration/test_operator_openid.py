"""Signing in with a real OpenID Connect provider (oidc-provider-mock), which runs as a process of its own."""

import http.client
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from harness.operator_visitor import Answer, Visitor
from harness.service import free_port
from harness.waiting import until
from tests.support.operator_page import OperatorService, operator_service


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    """The address of a provider that gives every user the claims that its own login page asks for."""
    port = free_port()
    command = [sys.executable, "-m", "oidc_provider_mock", "--port", str(port)]
    users = (
        *(("ana", "ana", '["seal-team", "others"]'), ("eve", "eve", '["others"]')),
        ("1007", "ana", '["auditors"]'),  # the name has passed to somebody else
    )
    for subject, name, groups in users:
        claims = f'{{"sub": "{subject}", "preferred_username": "{name}", "groups": {groups}}}'
        command += ["--user-claims", claims]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            until(lambda: is_there(port))
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(120)


def is_there(port: int) -> bool:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        try:
            connection.request("GET", "/.well-known/openid-configuration")
            return connection.getresponse().status == 200
        except OSError:
            return False


@pytest.fixture(scope="module")
def page(provider: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OperatorService]:
    secret = tmp_path_factory.mktemp("oidc") / "secret"
    secret.write_text("a secret that this provider does not compare\n")
    flags = (
        f"--operator-oidc-secret-file={secret}",
        "--operator-roles=seal-team=operator auditors=auditor",
        "--operator-oidc-client=batchseal",
        f"--operator-oidc-issuer={provider}",
    )
    with operator_service(*flags, own_url=True) as page:
        yield page


def at_provider(address: str, user: str) -> str:
    """Signs in at the provider as a user does, and returns the address that it sends the browser back to."""
    parts = urlsplit(address)
    with closing(http.client.HTTPConnection(parts.netloc, timeout=120)) as connection:
        connection.request(
            "POST",
            f"{parts.path}?{parts.query}",
            urlencode({"sub": user}),
            {"Content-Type": "application/x-www-form-urlencoded"},
        )
        answer = connection.getresponse()
        answer.read()
        return answer.headers["location"]


def sign_in(visitor: Visitor, user: str) -> Answer:
    begun = visitor.get("/oidc?next=/failures")
    assert begun.status == 303
    back = urlsplit(at_provider(begun.headers["location"], user))
    return visitor.get(f"{back.path}?{back.query}", Sec_Fetch_Site="cross-site")


def test_an_operator_of_the_provider_has_the_role_of_the_group(page: OperatorService) -> None:
    visitor = page.visitor()
    assert "Sign in with 127.0.0.1" in visitor.get("/login").text
    asked = parse_qs(urlsplit(visitor.get("/oidc").headers["location"]).query)
    assert asked["code_challenge_method"] == ["S256"] and len(asked["code_challenge"][0]) == 43
    answer = sign_in(visitor, "ana")
    # The next page is loaded from here, since the strict cookie does not go along with the provider's redirect.
    assert answer.status == 200 and 'content="0; url=/failures"' in answer.text
    assert "ana (operator)" in visitor.get("/").text
    assert visitor.post("/operations/confirm", {"action": "retry", "id": "1"}).status == 200


def test_the_trail_tells_two_people_apart_who_had_the_same_name(page: OperatorService, provider: str) -> None:
    first, second = page.visitor(), page.visitor()
    sign_in(first, "ana")
    first.get("/")
    assert first.post("/logout").status == 303
    assert sign_in(second, "1007").status == 200
    assert "Signed in as ana (auditor)" in second.get("/").text
    trail = second.get("/audit").text
    for subject, acts in (
        ("ana", ("signed in (oidc, role operator)", "signed out")),
        ("1007", ("signed in (oidc, role auditor)",)),
    ):
        rows = [row for row in trail.split("<tr>") if f"<td>ana ({subject} at {provider}) (127.0.0.1)</td>" in row]
        assert all(any(act in row for row in rows) for act in acts), subject


def test_who_is_in_no_group_with_a_role_is_refused(page: OperatorService) -> None:
    visitor = page.visitor()
    assert sign_in(visitor, "eve").status == 403
    assert visitor.get("/").status == 303


def test_an_answer_that_this_browser_did_not_ask_for_is_refused(page: OperatorService) -> None:
    begun = page.visitor()
    back = urlsplit(at_provider(begun.get("/oidc").headers["location"], "ana"))
    other = page.visitor()
    assert other.get(f"{back.path}?{back.query}").status == 400, "without the cookie of a login"
    other.get("/oidc")
    assert other.get(f"{back.path}?{back.query}").status == 400, "with the cookie of another login"
    assert begun.get(f"{back.path}?{re.sub('code=[^&]*', 'code=made-up', back.query)}").status == 403
    assert begun.get("/").status == 303
