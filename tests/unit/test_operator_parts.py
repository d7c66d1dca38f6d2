"""The operator's page: what its parts decide alone."""

import base64
import csv
import hashlib
import io
import json
import re
import time
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from batchseal import operator
from batchseal.errors import ConfigurationError, InvalidRequest, NoRoom
from batchseal.operation import OperationStatus
from batchseal.operator import csv_files
from batchseal.operator.alarm_texts import TEXTS
from batchseal.operator.pages.figures import months
from batchseal.operator.pages.filters import operation_filter, values_of
from batchseal.operator.pages.plots import PLOTS, rows_of
from batchseal.operator.pages.settings import MASK, shown_settings, without_password
from batchseal.operator.rendering import MENU
from batchseal.operator.request import own_address, read_fields
from batchseal.operator.roles import RIGHTS, Right
from batchseal.operator.routing import Routes, compiled
from batchseal.operator.security import is_loopback_name
from batchseal.operator.signing_in import passwords, totp
from batchseal.operator.signing_in.headers import HeaderLogin
from batchseal.operator.signing_in.id_token import IdToken, read_id_token
from batchseal.operator.static_files import StaticFiles
from batchseal.settings.load import Settings, load_settings
from batchseal.store.operator import Sample
from batchseal.store.samples import Metric

FOLDER = Path(operator.__file__).parent


# --- one-time codes and passwords -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "code"),
    # RFC 6238 appendix B, for SHA-1; its codes have eight digits, of which six are the last ones.
    [(59, "287082"), (1111111109, "081804"), (1111111111, "050471"), (1234567890, "005924"), (20000000000, "353130")],
)
def test_codes_are_those_of_the_standard(seconds: int, code: str) -> None:
    key = b"12345678901234567890"
    assert totp.code_at(key, seconds // 30) == code
    assert totp.matching_step(key, f"{code[:3]} {code[3:]}", seconds) == seconds // 30


def test_a_code_counts_for_one_step_around_its_own() -> None:
    key, now = totp.new_key(), 1_700_000_000
    code = totp.code_at(key, now // 30)
    assert [totp.matching_step(key, code, now + 30 * steps) is not None for steps in (-2, -1, 0, 1, 2)] == [
        *(False, True, True, True, False)
    ]
    assert totp.matching_step(key, "", now) is None
    assert totp.matching_step(key, "１２３４５６", now) is None


async def test_passwords_are_compared_one_at_a_time_within_reserved_memory(tmp_path: Path) -> None:
    held: list[int] = []

    def hold(size: int) -> bool:
        held.append(size)
        return True

    checks = passwords.PasswordChecks(tmp_path / "lock", hold)
    stored = passwords.digest_of("correct horse battery")
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert await checks.is_right(stored, "correct horse battery")
    assert not await checks.is_right(stored, "correct horse batterz")
    assert not await checks.is_right(None, "correct horse battery")
    assert held == [19456 * 1024, 0] * 3
    refusing = passwords.PasswordChecks(tmp_path / "lock", lambda size: size == 0)
    with pytest.raises(NoRoom):
        await refusing.is_right(stored, "correct horse battery")


@pytest.mark.parametrize("password", ["short", "a" * 12, "x" * 300, "abababababab"])
def test_weak_passwords_are_refused(password: str) -> None:
    assert passwords.problem_of(password)
    assert not passwords.problem_of("vier wörter genügen")


# --- OpenID Connect ---------------------------------------------------------------------------------------------------


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def number(value: int) -> str:
    return encoded(value.to_bytes((value.bit_length() + 7) // 8, "big"))


ISSUED = {"iss": "https://id.example", "aud": "us", "nonce": "n", "exp": 2_000}
CLAIMS = {**ISSUED, "sub": "1007", "preferred_username": "ana", "groups": ["ops"]}


def rsa_token(key: rsa.RSAPrivateKey, claims: object, algorithm: str = "RS256") -> str:
    signed = encoded(json.dumps({"alg": algorithm, "kid": "1"}).encode()) + "." + encoded(json.dumps(claims).encode())
    return signed + "." + encoded(key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def read(text: str, *keys: dict[str, str]) -> object:
    return read_id_token(
        text, keys, issuer="https://id.example", client="us", nonce="n", groups_claim="groups", now=1_000.0
    )


def jwk(key: rsa.RSAPrivateKey) -> dict[str, str]:
    numbers = key.public_key().public_numbers()
    return {"kty": "RSA", "kid": "1", "n": number(numbers.n), "e": number(numbers.e)}


def test_a_right_id_token_is_read(rsa_key: rsa.RSAPrivateKey) -> None:
    token = read(rsa_token(rsa_key, CLAIMS), jwk(rsa_key))
    assert token == IdToken("ana", "1007 at https://id.example", frozenset({"ops"}))


def test_a_token_signed_with_an_elliptic_curve_is_read() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    signed = encoded(b'{"alg":"ES256"}') + "." + encoded(json.dumps(CLAIMS).encode())
    r, s = decode_dss_signature(key.sign(signed.encode(), ec.ECDSA(hashes.SHA256())))
    point = key.public_key().public_numbers()
    public = {
        "kty": "EC",
        "crv": "P-256",
        "x": encoded(point.x.to_bytes(32, "big")),
        "y": encoded(point.y.to_bytes(32, "big")),
    }
    assert read(f"{signed}.{encoded(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}", public)


@pytest.mark.parametrize(
    "wrong",
    [
        *({"iss": "https://other.example"}, {"aud": "them"}, {"nonce": "m"}, {"exp": 900}, {"nbf": 1_100}),
        *({"exp": "soon"}, {"aud": ["us", "them"]}, {"sub": None, "email": "ana@example"}),
        *({"sub": ""}, {"sub": 7}, {"sub": "1" * 256}, {"sub": "1\n2"}),
    ],
)
def test_a_wrong_claim_is_refused(wrong: dict[str, object], rsa_key: rsa.RSAPrivateKey) -> None:
    with pytest.raises(ValueError, match="it"):
        read(rsa_token(rsa_key, CLAIMS | wrong), jwk(rsa_key))


def test_a_token_without_our_provider_s_signature_is_refused(rsa_key: rsa.RSAPrivateKey) -> None:
    right = rsa_token(rsa_key, CLAIMS)
    other = jwk(rsa.generate_private_key(65537, 2048))
    unsigned = encoded(b'{"alg":"none"}') + "." + encoded(json.dumps(CLAIMS).encode()) + "."
    for text, key in ((right, other), (unsigned, jwk(rsa_key)), (right[:-8] + "AAAAAAAA", jwk(rsa_key))):
        with pytest.raises(ValueError, match="signature"):
            read(text, key)


class Called:
    """A request of a proxy at this address, with these headers."""

    def __init__(self, peer: str, **headers: str) -> None:
        self.exchange, self.peer, self.headers = SimpleNamespace(peer=peer), peer, headers

    def header(self, name: str) -> str:
        return self.headers.get(name, "")


def test_only_a_named_proxy_signs_operators_in() -> None:
    settings = Settings(
        operator_user_header="user",
        operator_groups_header="groups",
        operator_proxies="10.0.0.7",
        operator_roles="a=viewer b=admin c=auditor",
    )
    login = HeaderLogin(settings)

    def named(peer: str, **headers: str) -> tuple[str, str | None] | None:
        return login.named(Called(peer, **headers))  # type: ignore[arg-type]

    assert named("10.0.0.7", user="ana", groups="a, c") == ("ana", "auditor")
    assert named("10.0.0.7", user="ana", groups="c,b") == ("ana", "admin")
    assert named("10.0.0.8", user="ana", groups="b") is None
    assert named("10.0.0.7", user="ana", groups="d") == ("ana", None)
    assert named("10.0.0.7", user="a\x1bna", groups="b") is None
    assert named("10.0.0.7", groups="b") is None


# --- addresses, filters, files ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "javascript:alert(1)",
        "",
        "/a\nb",
        "/ä",
        "/" + "a" * 3000,
    ],
)
def test_no_address_leads_to_another_site(text: str) -> None:
    assert own_address(text) == "/"


def test_own_addresses_are_kept() -> None:
    assert own_address("/operations?status=EXECUTED&reference=a%2Fb") == "/operations?status=EXECUTED&reference=a%2Fb"


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        *(("localhost", True), ("localhost:8090", True), ("127.0.0.1:1", True), ("[::1]:8090", True), ("[::1]", True)),
        *(("a.localhost", True), ("localhost.evil.example", False), ("10.0.0.1:80", False), ("", False)),
    ],
)
def test_which_names_are_of_this_machine(host: str, expected: bool) -> None:
    assert is_loopback_name(host) is expected


def test_a_filter_is_read_from_an_address() -> None:
    fields = read_fields(
        b"status=EXECUTED&status=EXECUTION_FAILED&older=1,5&since=2026-01-31T12:00&failures=yes&reference=%00a"
    )
    wanted = operation_filter(values_of(fields, ("status", "older", "since", "failures", "reference")))
    assert wanted.statuses == {OperationStatus.EXECUTED, OperationStatus.EXECUTION_FAILED}
    assert (wanted.older_seconds, wanted.has_failures, wanted.reference) == (90.0, True, "a")
    assert wanted.since is not None and wanted.since.isoformat() == "2026-01-31T12:00:00+00:00"


@pytest.mark.parametrize(
    "values", [{"status": "GONE"}, {"mode": "x"}, {"since": "yesterday"}, {"older": "-1"}, {"older": "nan"}]
)
def test_a_wrong_filter_is_refused_by_name(values: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest, match=next(iter(values))):
        operation_filter(values)


def test_the_months_of_a_range() -> None:
    first, last = months("2025-11", "2026-02")
    assert (str(first), str(last)) == ("2025-11-01", "2026-02-01")
    for wrong in (("2026-02", "2026-01"), ("1990-01", "2026-01"), ("x", "")):
        with pytest.raises(InvalidRequest):
            months(*wrong)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "  =1"])
def test_no_cell_begins_a_formula(text: str) -> None:
    line = csv_files.lines([[text, 7, "plain"]]).decode()
    assert next(csv.reader(io.StringIO(line, newline=""))) == [f"'{text}", "7", "plain"]


def test_numbers_stay_numbers_in_csv() -> None:
    assert csv_files.lines([[-5, 1.5, None, True, "-"]]) == b"-5,1.5,,yes,'-\r\n"


# --- routes, roles, texts, settings -----------------------------------------------------------------------------------


def test_a_route_takes_its_own_method_alone() -> None:
    async def handler(request: object) -> object:
        raise AssertionError

    routes = Routes()
    routes.add("POST", "/operations/{id:int}/x", Right.ACT, handler)  # type: ignore[arg-type]
    assert routes.find("GET", "/operations/7/x") == ["POST"]
    assert routes.find("POST", "/operations/seven/x") == []
    found = routes.find("POST", "/operations/7/x")
    assert isinstance(found, tuple) and found[1] == {"id": "7"}
    assert not compiled("/a.csv").fullmatch("/axcsv")


def test_what_the_roles_may_do() -> None:
    assert RIGHTS["viewer"] == {Right.VIEW}
    assert Right.ACT not in RIGHTS["auditor"] and Right.AUDIT in RIGHTS["auditor"]
    assert Right.AUDIT not in RIGHTS["operator"] and Right.ACT in RIGHTS["operator"]
    assert RIGHTS["admin"] == set(Right)


def sentences() -> set[str]:
    """Every text of the templates, of the menu, of alarms and of plots. Names that end in a space stand before a value."""
    found = set(TEXTS.values()) | {entry.title for entry in MENU}
    for path in (FOLDER / "templates").glob("*.html"):
        for double, single in re.findall(r"""\b_\("([^"]*)"|\b_\('([^']*)'""", path.read_text("utf-8")):
            found.add(double or single)
    for plot in PLOTS:
        found |= {plot.title, plot.unit, *(title for _, title in plot.lines)}
    return {text for text in found if not text.endswith(" ")}


def test_every_text_is_translated_with_the_same_values() -> None:
    english = tomllib.loads((FOLDER / "translations" / "en.toml").read_text("utf-8"))
    portuguese = tomllib.loads((FOLDER / "translations" / "pt.toml").read_text("utf-8"))
    assert english.keys() - portuguese.keys() == set()
    assert sentences() - portuguese.keys() == set()
    for sentence, text in portuguese.items():
        original = english.get(sentence, sentence)
        assert set(re.findall(r"\{\w+\}", text)) == set(re.findall(r"\{\w+\}", original)), sentence


def test_plots_ask_for_metrics_that_exist() -> None:
    assert {metric for plot in PLOTS for metric, _ in plot.lines} <= {metric.name for metric in Metric}


def test_a_line_is_broken_where_the_service_did_not_run() -> None:
    plot, first = PLOTS[1], datetime(2026, 11, 30, 12, tzinfo=UTC)
    minutes = (0, 1, 9, 10)
    samples = {plot.lines[0][0]: [Sample(first + timedelta(minutes=minute), minute, minute) for minute in minutes]}
    rows = [((at - first).total_seconds() / 60, *values) for at, values in rows_of(plot, samples, 60)]
    assert rows == [(0, 0), (1, 1), (2, None), (9, 9), (10, 10)]


def test_no_template_shows_anything_unescaped() -> None:
    for path in (FOLDER / "templates").glob("*.html"):
        text = path.read_text("utf-8")
        assert "autoescape" not in text and " style=" not in text and "javascript:" not in text
        assert set(re.findall(r"\{\{[^}]*\|\s*safe[^}]*\}\}", text)) <= {
            """{{ ' aria-current="true"'|safe if name == chosen }}"""
        }
        assert not re.search(r"<script(?![^>]* src=)|\son\w+=", text), path


def test_files_of_others_are_what_their_authors_published() -> None:
    """The digests are those of the files in the packages htmx.org 2.0.11 and uplot 1.6.32 of npm."""
    digests = {
        "htmx.min.js": "d6fdc75f204e6bdefa99b69bf1e6d4ac69b8a364f77929f45c13476b4000f717",
        "uplot.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
        "uplot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
    }
    for name, digest in digests.items():
        assert hashlib.sha256((FOLDER / "static" / name).read_bytes()).hexdigest() == digest


def test_static_files_are_found_by_name_alone() -> None:
    files = StaticFiles()
    address = files.address("style.css")
    assert re.fullmatch(r"/static/[0-9a-f]{12}/style\.css", address)
    assert files.find(address) is not None
    for wrong in ("/static/style.css", "/static/x/../style.css", "/static/x/LICENSE", "/static/x/page.py", "/static/"):
        assert files.find(wrong) is None


def test_settings_are_shown_without_secrets() -> None:
    settings = Settings(
        database_url="postgresql://user:geheim@db/x?password=geheim",
        proxy_password="geheim",
        payload_store_secret="geheim",
    )
    shown = str(shown_settings(settings))
    assert "geheim" not in shown and shown.count(MASK) >= 3
    assert without_password("https://tsa.example/;20/1200") == "https://tsa.example/;20/1200"


OIDC = {"operator_oidc_client": "x", "operator_url": "https://x", "operator_roles": "a=admin"}


@pytest.mark.parametrize(
    "flags",
    [
        *({"operator_port": "eight"}, {"operator_port": "70000"}, {"operator_port": "0"}),
        *({"operator_user_header": "X-User"}, {"operator_idle_minutes": "0"}),
        *({"operator_url": "ftp://x"}, {"operator_url": "https://["}),
        {"operator_user_header": "X-User", "operator_proxies": "10.0.0.1", "operator_roles": "a=chief"},
        {"operator_user_header": "X-User", "operator_proxies": "nowhere", "operator_roles": "a=admin"},
        {"operator_oidc_issuer": "https://id.example", "operator_roles": "a=admin"},
        {"operator_oidc_issuer": "https://id.example", "operator_oidc_client": "x", "operator_url": "https://x"},
        {"operator_oidc_issuer": "https://id.example", "operator_oidc_secret_file": "/missing", **OIDC},
        *({"operator_oidc_issuer": issuer, **OIDC} for issuer in ("http://id.example", "id.example", "https://[")),
    ],
)
def test_settings_that_do_not_go_together_are_refused(flags: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="--operator"):
        load_settings(flags, {})


def test_a_flood_of_fields_is_refused() -> None:
    began = time.process_time()
    with pytest.raises(InvalidRequest):
        read_fields(b"a=1&" * 100_000)
    assert time.process_time() - began < 5
