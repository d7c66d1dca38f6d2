"""The operator's page of a running service: who gets in, who may do what, and what a browser is protected from."""

import base64
import json
import re
import time
from collections.abc import Iterator

import pytest
from harness.invoices import invoice
from harness.operator_visitor import Visitor, values_of
from harness.waiting import until
from tests.support.operator_page import OperatorService, add_accounts, operator_service
from tests.support.operator_rows import HOSTILE, hostile_batch, send
from tests.support.service import batch

from batchseal.operator.roles import RIGHTS, Right
from batchseal.operator.signing_in.totp import code_at

# What each address asks for. The list is written out here, so that a change of a right is a change of this test.
PAGES = {
    "/": Right.VIEW,
    "/operations": Right.VIEW,
    "/operations/1": Right.VIEW,
    "/operations/done?action=retry&done=1": Right.VIEW,
    "/documents": Right.VIEW,
    "/documents?name=invoice": Right.VIEW,
    "/failures": Right.VIEW,
    "/credentials": Right.VIEW,
    "/timestamps": Right.VIEW,
    "/services": Right.VIEW,
    "/operations?held=yes": Right.VIEW,
    "/webhooks": Right.VIEW,
    "/webhooks?state=given-up&service=x": Right.VIEW,
    "/consumption": Right.VIEW,
    "/storage": Right.VIEW,
    "/plots": Right.VIEW,
    "/plots?range=30d": Right.VIEW,
    "/operations.csv": Right.EXPORT,
    "/operations/1/bundle.json": Right.EXPORT,
    "/consumption.csv": Right.EXPORT,
    "/audit": Right.AUDIT,
    "/settings": Right.SETTINGS,
    "/credentials/renew?service=x": Right.ACT,
}
ACTIONS = {
    "/operations/confirm": (Right.ACT, {"action": "cancel", "id": "999999"}),
    "/operations/act": (Right.ACT, {"action": "cancel", "id": "999999"}),
    "/webhooks/confirm": (Right.ACT, {"service": "x"}),
    "/webhooks/redeliver": (Right.ACT, {"id": "00000000-0000-0000-0000-000000000001"}),
    "/credentials/otp": (Right.ACT, {"service": "x"}),
    "/credentials/renew": (Right.ACT, {"service": "x", "otp": "1", "pin": "2"}),
    "/audit/accept": (Right.AUDIT, {}),
    "/audit/verify": (Right.AUDIT, {}),
}


@pytest.fixture(scope="module")
def page() -> Iterator[OperatorService]:
    with operator_service() as page:
        yield page


@pytest.fixture(scope="module")
def filled(page: OperatorService) -> OperatorService:
    """The same with an account of each role, an operation with hostile names, and one whose second document is no PDF."""
    add_accounts(page, "viewer", "operator", "auditor")
    send(page, hostile_batch(HOSTILE[0], HOSTILE[2]))
    send(page, batch("broken", [invoice(1, size_bytes=3_000), b"no PDF"]))
    return page


@pytest.fixture(scope="module")
def visitors(filled: OperatorService) -> dict[str, Visitor]:
    """Somebody of each role who is signed in. The admin needs a one-time code."""
    found = {role: filled.signed_in(role) for role in ("viewer", "operator", "auditor")}
    added = filled.command("add", "admin", "--role", "admin")
    key = base64.b32decode(re.findall(r"\b[A-Z2-7]{32}\b", added.stdout)[0])
    found["admin"] = filled.visitor()
    assert found["admin"].sign_in("admin").status == 403
    assert found["admin"].sign_in("admin", code="000000").status == 403
    code = code_at(key, int(time.time()) // 30)
    assert found["admin"].sign_in("admin", code=code).status == 303
    assert filled.visitor().sign_in("admin", code=code).status == 403, "a code counts once"
    return found


# --- getting in -------------------------------------------------------------------------------------------------------


def test_in_a_trial_the_sandbox_account_signs_in_until_there_is_another_one(page: OperatorService) -> None:
    visitor = page.visitor()
    assert str(page.trial_password) in visitor.get("/login").text
    assert page.trial_password.stat().st_mode & 0o777 == 0o600
    assert visitor.sign_in("sandbox", "guess").status == 403
    assert visitor.sign_in("sandbox", page.trial_password.read_text().strip()).status == 303
    front = visitor.get("/")
    assert front.status == 200 and "Sandbox" in front.text and front.headers["batchseal-sandbox"] == "true"
    assert page.command("add", "first", "--role", "viewer").returncode == 0
    assert page.visitor().sign_in("sandbox", page.trial_password.read_text().strip()).status == 403
    assert page.command("remove", "first").returncode == 0


def test_nobody_sees_a_page_without_signing_in(filled: OperatorService) -> None:
    for path in PAGES:
        answer = filled.visitor().get(path)
        assert (answer.status, answer.headers["location"].partition("?")[0]) == (303, "/login"), path
    for path in ACTIONS:
        answer = filled.visitor().post(path, {}, token="x")
        assert answer.status == 303 and answer.headers["location"].startswith("/login"), path
    assert (
        filled.visitor().get("/operations?status=EXECUTED").headers["location"]
        == "/login?next=/operations%3Fstatus%3DEXECUTED"
    )


def test_a_session_is_new_with_each_login_and_over_with_the_end_of_its_account(filled: OperatorService) -> None:
    visitor = filled.visitor()
    planted = "A" * 43
    assert visitor.sign_in("viewer").status == 303
    (cookie,) = visitor.cookies
    visitor.cookies[cookie] = planted
    assert visitor.sign_in("viewer").status == 303
    first = visitor.cookies[cookie]
    assert first != planted and len(first) >= 43
    old = filled.visitor()
    old.cookies[cookie] = first
    assert old.get("/operations").status == 200
    assert visitor.sign_in("viewer").status == 303
    assert visitor.cookies[cookie] != first
    assert old.get("/operations").status == 303, "a login ends the session that the browser had"
    assert filled.command("role", "viewer", "--role", "viewer").returncode == 0
    assert visitor.get("/operations").status == 303, "a change of the account ends its sessions"


def test_signing_out_ends_the_session(filled: OperatorService) -> None:
    visitor = filled.signed_in("operator")
    kept = dict(visitor.cookies)
    assert visitor.post("/logout").status == 303
    assert visitor.cookies == {}
    visitor.cookies = kept
    assert visitor.get("/").status == 303


def test_without_tls_nobody_signs_in_from_elsewhere(filled: OperatorService) -> None:
    stranger = filled.visitor(Host="seal.example:8090")
    shown = stranger.get("/login")
    assert "--operator-insecure" in shown.text and 'name="password"' not in shown.text
    assert stranger.sign_in("viewer").status == 403
    assert stranger.cookies == {}


@pytest.fixture(scope="module")
def proxied() -> Iterator[OperatorService]:
    """A service behind proxies of this machine, which also takes the risk of no TLS."""
    login = ("--operator-user-header=X-User", "--operator-groups-header=X-Groups", "--operator-proxies=127.0.0.1")
    roles = "--operator-roles=ops=operator all=viewer"
    with operator_service("--trusted-proxies=127.0.0.1", "--operator-insecure", *login, roles) as page:
        add_accounts(page, "viewer")
        yield page


def test_guessing_is_ended_for_the_guesser_alone(proxied: OperatorService) -> None:
    guesser = proxied.visitor(X_Forwarded_For="192.0.2.66")
    answers = [guesser.sign_in("viewer", f"guess number {n}").status for n in range(7)]
    assert answers == [403] * 5 + [429] * 2
    locked = guesser.sign_in("viewer")
    assert locked.status == 429 and "retry-after" in locked.headers, "the right password does not help who has guessed"
    assert proxied.visitor(X_Forwarded_For="192.0.2.7").sign_in("viewer").status == 303, "nobody else is locked out"


def test_who_tries_many_names_is_ended_too(proxied: OperatorService) -> None:
    tried = [proxied.visitor(X_Forwarded_For="192.0.2.99").sign_in(f"name{n}", "x" * 300).status for n in range(32)]
    assert tried == [403] * 30 + [429] * 2


def test_a_proxy_with_tls_and_the_risk_that_was_taken(proxied: OperatorService) -> None:
    behind = proxied.visitor(Host="seal.example", X_Forwarded_Proto="https")
    assert behind.get("/login").headers["strict-transport-security"]
    answer = behind.sign_in("viewer")
    assert (
        answer.status == 303
        and re.match(r"__Host-batchseal-[0-9a-f]{8}=", answer.cookies[0])
        and "Secure" in answer.cookies[0]
    )
    insecure = proxied.visitor(Host="seal.example")
    shown = insecure.get("/login")
    assert "not protected" in shown.text and "strict-transport-security" not in shown.headers
    answer = insecure.sign_in("viewer")
    assert (
        answer.status == 303
        and "Secure" not in answer.cookies[0]
        and re.match(r"batchseal-[0-9a-f]{8}=", answer.cookies[0])
    )
    assert insecure.get("/").status == 200


def test_a_named_proxy_signs_operators_in_by_a_header(proxied: OperatorService) -> None:
    ana = proxied.visitor(X_User="ana", X_Groups="all, ops")
    assert ana.get("/operations").status == 200
    assert "ana (operator)" in ana.get("/").text
    assert ana.post("/operations/confirm", {"action": "retry", "id": "1"}).status == 200
    assert proxied.visitor(X_User="eve", X_Groups="others").get("/").status == 303
    ana.headers = {"X-User": "eve", "X-Groups": "all"}
    assert "eve (viewer)" in ana.get("/").text, "whom the proxy names counts, whatever the cookie says"
    ana.headers = {}
    assert ana.get("/").status == 303, "without the header the session of the proxy is over"


# --- who may do what --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", RIGHTS)
def test_each_role_has_its_pages_and_no_other(role: str, visitors: dict[str, Visitor]) -> None:
    visitor = visitors[role]
    shown = {path: visitor.get(path).status for path in PAGES}
    for path, right in PAGES.items():
        assert (shown[path] != 403) == (right in RIGHTS[role]), (path, shown[path])
        assert shown[path] in (200, 403) or path == "/credentials/renew?service=x", (path, shown[path])


@pytest.mark.parametrize("role", RIGHTS)
def test_each_role_has_its_actions_and_no_other(role: str, visitors: dict[str, Visitor]) -> None:
    visitor = visitors[role]
    visitor.get("/")
    for path, (right, fields) in ACTIONS.items():
        status = visitor.post(path, fields).status
        assert (status != 403) == (right in RIGHTS[role]), (path, status)


def test_a_menu_has_no_page_that_is_refused(visitors: dict[str, Visitor]) -> None:
    assert 'href="/audit"' not in visitors["operator"].get("/").text
    assert 'href="/audit"' in visitors["auditor"].get("/").text
    assert 'name="action"' not in visitors["auditor"].get("/operations").text


# --- what a browser is protected from ---------------------------------------------------------------------------------


def test_every_reply_has_the_headers_that_protect_it(visitors: dict[str, Visitor]) -> None:
    for answer in (
        visitors["admin"].get("/"),
        visitors["admin"].get("/nowhere"),
        Visitor(visitors["admin"].port).get("/login"),
    ):
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self';") and "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy and answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["cache-control"] == "no-store" and answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"


def test_the_cookie_goes_to_nobody_else(filled: OperatorService) -> None:
    cookie = filled.visitor().sign_in("operator").cookies[0]
    assert re.match(rf"__Host-batchseal-[0-9a-f]{{8}}-{filled.port}=", cookie)
    assert {"Path=/", "HttpOnly", "SameSite=Strict", "Secure"} <= set(cookie.split("; "))


@pytest.mark.parametrize(
    "headers",
    [
        *({"Sec_Fetch_Site": "cross-site"}, {"Sec_Fetch_Site": "same-site"}, {"Origin": "https://evil.example"}),
        *({"Origin": "null"}, {"Sec_Fetch_Site": "cross-site", "Origin": "https://evil.example"}),
    ],
)
def test_a_form_of_another_site_is_refused(headers: dict[str, str], visitors: dict[str, Visitor]) -> None:
    admin = visitors["admin"]
    for path, (_, fields) in ACTIONS.items():
        assert admin.post(path, fields, **headers).status == 403, path
    assert admin.post("/logout", {}, **headers).status == 403
    assert admin.post("/choices", {"language": "pt"}, **headers).status == 403
    assert admin.get("/").status == 200


def test_a_form_without_the_token_of_its_session_is_refused(
    filled: OperatorService, visitors: dict[str, Visitor]
) -> None:
    admin, other = visitors["admin"], filled.signed_in("operator")
    own = {"Sec_Fetch_Site": "same-origin", "Origin": f"http://127.0.0.1:{filled.port}"}
    for path, (_, fields) in ACTIONS.items():
        for token in ("", other.token, "0" * 64):
            assert admin.post(path, fields, token=token, **own).status == 403, path
    assert admin.post("/operations/confirm", {"action": "retry", "id": "1"}, **own).status == 200


def test_nothing_is_changed_by_get(visitors: dict[str, Visitor]) -> None:
    for path in (*ACTIONS, "/logout", "/choices"):
        if path != "/credentials/renew":
            assert visitors["admin"].get(path).status == 405, path
    assert visitors["admin"].get("/").status == 200


def test_other_methods_and_large_forms_are_refused(visitors: dict[str, Visitor]) -> None:
    admin = visitors["admin"]
    assert admin.ask("PUT", "/operations").status == 405
    assert admin.ask("DELETE", "/operations/1").status == 405
    assert admin.post("/operations/confirm", {"x": "a" * 600_000}).status == 413
    assert admin.ask("POST", "/operations/confirm", "{}", Content_Type="application/json").status == 400
    head = admin.ask("HEAD", "/operations")
    assert (head.status, head.text) == (200, "")


def test_hostile_names_are_shown_as_they_are_and_do_nothing(visitors: dict[str, Visitor]) -> None:
    admin = visitors["admin"]
    listed = admin.get("/operations").text
    number = max(map(int, re.findall(r'href="/operations/(\d+)"', listed)))
    paths = [
        "/operations",
        f"/operations/{number - 1}",
        f"/operations/{number}",
        "/failures",
        "/documents?name=xss",
        "/audit",
    ]
    for path in paths:
        text = admin.get(path).text
        body = text.partition("<main")[2]
        assert not re.search(
            r"<(script|img|svg (?!class=)|iframe|body|math|animate|base|meta|style|object|embed)\b", body
        ), path
        assert not re.search(r"<[^>]*\s(on\w+|srcdoc|hx-on[^=]*)=", body), path
        assert "href=javascript" not in re.sub(r"&[^;]+;", "", body) or "&lt;a href=javascript" in body
    assert "&lt;script&gt;document.title" in admin.get(f"/operations/{number - 1}").text
    assert "49" not in admin.get("/documents?reference={{7*7}}").text.partition('id="reference"')[2][:80]


def test_cells_of_csv_files_begin_no_formula(filled: OperatorService, visitors: dict[str, Visitor]) -> None:
    send(filled, batch('=HYPERLINK("http://evil.example")', [invoice(1, size_bytes=3_000)]))
    answer = visitors["auditor"].get("/operations.csv")
    assert answer.headers["content-type"].startswith("text/csv")
    assert "attachment" in answer.headers["content-disposition"]
    assert "'=HYPERLINK" in answer.text and ",=HYPERLINK" not in answer.text and ',"=HYPERLINK' not in answer.text
    assert len(answer.text.splitlines()) == 4


def test_a_bundle_names_no_document_and_nobody(visitors: dict[str, Visitor]) -> None:
    number = max(
        map(int, re.findall(r'href="/operations/(\d+)"', visitors["operator"].get("/operations?failures=yes").text))
    )
    answer = visitors["operator"].get(f"/operations/{number}/bundle.json")
    bundle = json.loads(answer.text)
    assert (answer.headers["content-type"], bundle["operation"]["line"]["id"]) == ("application/json", number)
    assert "broken" not in answer.text and "invoice-" not in answer.text
    assert [document["ordinal"] for document in bundle["failed_documents"]] == [1]
    assert {event["name"] for event in bundle["operation"]["events"]} >= {"REGISTERED", "FINISHED"}


# --- actions, language, the address of the API ------------------------------------------------------------------------


def test_a_retry_is_asked_about_then_done_and_told_of_in_the_audit_trail(visitors: dict[str, Visitor]) -> None:
    operator = visitors["operator"]
    number = max(map(int, re.findall(r'href="/operations/(\d+)"', operator.get("/operations?failures=yes").text)))
    wish = {"action": "retry", "id": str(number), "back": f"/operations/{number}"}
    asked = operator.post("/operations/confirm", wish)
    assert asked.status == 200 and values_of(asked.text, "id") == [str(number)]
    # The document is no PDF. Only whoever says so gets it tried again.
    done = operator.post("/operations/act", {"action": "retry", "id": str(number), "back": "/failures"})
    assert "nothing_to_retry=1" in done.headers["location"]
    done = operator.post("/operations/act", {"action": "retry", "id": str(number), "everything": "yes"})
    assert done.status == 303 and "done=1" in done.headers["location"]
    assert "1" in operator.get(done.headers["location"]).text
    trail = visitors["auditor"].get("/audit").text
    assert "retried by an operator" in trail and "operator (127.0.0.1)" in trail


def test_all_of_a_filter_is_counted_and_purged(visitors: dict[str, Visitor]) -> None:
    operator = visitors["operator"]
    wish = {"action": "purge", "scope": "filter", "reference": "broken"}
    asked = operator.post("/operations/confirm", wish | {"back": "//evil.example"})
    assert "1 operations with 2 documents" in asked.text and "evil" not in asked.text
    # The retry of the test before may still be under way, and what is not finished is passed over.
    until(lambda: "done=1" in operator.post("/operations/act", wish).headers["location"])
    is_asked_for = "purge asked for" in operator.get("/storage").text
    assert is_asked_for or "purged" in operator.get("/operations?reference=broken").text


def test_the_chain_is_checked_and_the_check_becomes_an_entry(visitors: dict[str, Visitor]) -> None:
    checked = visitors["auditor"].post("/audit/verify")
    assert checked.status == 200 and "The chain is intact" in checked.text
    assert "checked" in visitors["auditor"].get("/audit").text


def test_pages_speak_the_language_of_the_browser_or_the_chosen_one(filled: OperatorService) -> None:
    visitor = filled.visitor(Accept_Language="pt-PT,pt;q=0.9,en;q=0.5")
    assert '<html lang="pt-PT"' in visitor.get("/login").text
    chosen = visitor.post("/choices", {"language": "en", "theme": "dark", "next": "/login?next=/audit"}, token="")
    assert chosen.headers["location"] == "/login?next=/audit"
    shown = visitor.get("/login").text
    assert '<html lang="en" data-theme="dark"' in shown and "Sign in" in shown


def test_the_api_s_address_says_what_it_is_without_a_version(page: OperatorService) -> None:
    api = Visitor(page.service.port)
    answer = api.get("/")
    assert answer.status == 200 and json.loads(answer.text)["documentation"].endswith("/swagger-ui.html")
    shown = api.get("/", Accept="text/html,*/*")
    assert "swagger-ui.html" in shown.text and shown.headers["content-type"].startswith("text/html")
    assert not re.search(r"\d+\.\d+\.\d+", answer.text + shown.text)
    assert api.get("/login").status == 404, "the pages are on their own listener alone"
