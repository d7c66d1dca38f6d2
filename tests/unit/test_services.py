"""The client services file: what is read, what is refused, and what a change does."""

import json
import os
import stat
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from batchseal.commands.check import check_configuration
from batchseal.errors import ConfigurationError
from batchseal.settings.client_services import (
    SANDBOX_SERVICE,
    ClientServices,
    make_sandbox_services,
    unreachable_levels,
)
from batchseal.settings.load import Settings
from batchseal.signature import Level, SignatureDefaults, SignatureOptions, SignaturePolicy


def write(path, table):
    path.write_text(table if isinstance(table, str) else json.dumps(table))
    path.chmod(0o600)
    return path


@pytest.fixture
def path(tmp_path):
    return tmp_path / "client-services-config.json"


def test_reads_the_keys_of_the_contract(path):
    write(
        path,
        {
            "A": {"secret": "s1", "inputFolder": "in", "credentialId": "c", "pinFile": "pins/a"},
            "B": {"secret": "s2", "active": False, "credentialId": None},
        },
    )
    services = ClientServices.load(path)
    a, b = services.get("A"), services.get("B")
    assert a is not None and b is not None
    assert services.ids() == ["A", "B"] and services.present
    assert (a.credential_id, a.pin_file, a.active) == ("c", path.parent / "pins/a", True)
    assert (b.credential_id, b.pin_file, b.active) == (None, None, False)
    assert services.get("C") is None


def test_a_secret_is_compared_and_never_shown(path):
    service = ClientServices.load(write(path, {"A": {"secret": "gr€en-canary"}})).get("A")
    assert service is not None
    assert service.accepts("gr€en-canary") and not service.accepts("gr€en-canar") and not service.accepts("")
    assert "canary" not in repr(service)


def test_short_secrets_are_warned_of_by_name_and_never_shown(path):
    long, short = "sixteen-letters!", "fifteen-letters"
    table = {"A": {"secret": long}, "B": {"secret": short}, "C": {"secret": long, "previousSecret": short}}
    with capture_logs() as said:
        services = ClientServices.load(write(path, table))
        write(path, {"A": {"secret": long}, "D": {"secret": "é" * 15}})
        services.reload_if_changed()
        write(path, {"A": {"secret": long}})
        services.reload_if_changed()
    warnings = [entry for entry in said if entry["log_level"] == "warning"]
    assert [entry["client_services"] for entry in warnings] == [["B", "C"], ["D"]]
    assert all("16 characters" in entry["event"] for entry in warnings)
    assert short not in str(said)


def test_one_process_makes_the_remarks_for_all(path):
    write(path, {"A": {"secret": "short"}}).chmod(0o644)
    with capture_logs() as said:
        service = ClientServices.load(path, remarks=False).get("A")
    assert service is not None and service.accepts("short")
    assert not said


def test_a_byte_order_mark_does_not_matter(path):
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps({"A": {"secret": "s"}}).encode())
    assert ClientServices.load(path).ids() == ["A"]


def test_a_missing_file_configures_nobody(path):
    services = ClientServices.load(path)
    assert not services.present and services.ids() == []
    write(path, {"A": {"secret": "s"}})
    assert services.reload_if_changed() and services.present


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "line 1"),
        ("[]", "not an object"),
        ("{}", "not an object"),
        ('{"A": {}}', "'A': has no secret"),
        ('{"A": "canary"}', "'A': is not an object"),
        ('{"A": {"secret": 7}}', "secret is not a text"),
        ('{"A": {"secret": ""}}', "secret is not a text"),
        ('{"A": {"secret": "canary", "active": "yes"}}', "active"),
        ('{"A": {"secret": "canary"}, "A": {"secret": "t"}}', "'A' is there twice"),
        ("\xff", "client-services-config.json"),
        ("[" * 100_000, "client-services-config.json"),
    ],
)
def test_what_cannot_be_used_is_named(path, text, said):
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigurationError) as refusal:
        ClientServices.load(path)
    assert said in refusal.value.cause and "canary" not in refusal.value.cause


def test_a_change_is_noticed_and_a_bad_one_keeps_what_was(path):
    services = ClientServices.load(write(path, {"A": {"secret": "one"}}))
    assert services.reload_if_changed() is False
    write(path, {"A": {"secret": "three"}})
    assert services.reload_if_changed() is True
    assert (service := services.get("A")) is not None and service.accepts("three")
    write(path, '{"A": {"secret": "fou')
    assert services.reload_if_changed() is False
    assert (service := services.get("A")) is not None and service.accepts("three")
    assert services.problem is not None and "line 1" in services.problem
    path.unlink()
    assert services.reload_if_changed() is False and services.get("A")
    assert services.problem is not None and "gone" in services.problem
    write(path, {"A": {"secret": "fifth!"}})
    assert services.reload_if_changed() is True and services.problem is None


def test_a_sandbox_file_is_made_once_with_a_fresh_secret(tmp_path):
    first = make_sandbox_services(tmp_path / "work", tmp_path / "sandbox")
    assert first == tmp_path / "work" / "client-services-config.json"
    assert stat.S_IMODE(first.stat().st_mode) == 0o600
    text = first.read_text()
    assert make_sandbox_services(tmp_path / "work", tmp_path / "sandbox") == first and first.read_text() == text
    assert sorted(os.listdir(first.parent)) == ["client-services-config.json"]
    other = make_sandbox_services(tmp_path / "other", tmp_path / "sandbox")
    assert len(json.loads(text)[SANDBOX_SERVICE]["secret"]) >= 32 and other.read_text() != text


@pytest.mark.parametrize(
    "table",
    [
        {"my-client": {"secret": "s"}},
        {SANDBOX_SERVICE: {"secret": "s"}, "my-client": {"secret": "t"}},
        {SANDBOX_SERVICE: {"secret": "s", "credentialId": "seal"}},
        {SANDBOX_SERVICE: {"secret": "s", "pinFile": "pin"}},
    ],
)
def test_the_sandbox_signs_for_an_operators_clients_only_if_that_is_asked_for(path, table):
    write(path, table)
    with pytest.raises(ConfigurationError, match=r"--service-domain or --upstream-url, or give --sandbox") as refusal:
        ClientServices.load(path, sandbox_only=True)
    assert str(path) in refusal.value.cause
    assert ClientServices.load(path).ids() == list(table)


async def test_check_says_what_the_start_would_say(path):
    write(path, {"my-client": {"secret": "s"}})
    with pytest.raises(ConfigurationError, match="give --sandbox"):
        await check_configuration(Settings(work_folder=path.parent))
    said = await check_configuration(Settings(work_folder=path.parent, sandbox=True))
    assert f"client services in {path}: 1" in said


@pytest.mark.parametrize("more", [{}, {"previousSecret": "t"}, {"active": True}])
def test_the_sandbox_signs_for_the_client_that_it_made_up(path, more):
    write(path, {SANDBOX_SERVICE: {"secret": "s", **more}})
    assert ClientServices.load(path, sandbox_only=True).ids() == [SANDBOX_SERVICE]


def test_a_running_sandbox_takes_no_clients_of_an_operator(path):
    services = ClientServices.load(make_sandbox_services(path.parent, path.parent), sandbox_only=True)
    write(path, {"my-client": {"secret": "s"}})
    assert services.reload_if_changed() is False
    assert services.ids() == [SANDBOX_SERVICE]
    assert services.problem is not None and "--sandbox" in services.problem


def test_a_work_folder_that_is_there_is_only_read(tmp_path):
    (tmp_path / "work").mkdir()
    path = make_sandbox_services(tmp_path / "work", tmp_path / "sandbox")
    assert path.parent == tmp_path / "sandbox"
    assert not list((tmp_path / "work").iterdir())


UNREADABLE = """
import os, sys
from pathlib import Path
from batchseal.errors import ConfigurationError
from batchseal.settings.client_services import ClientServices, make_sandbox_services
os.setuid(65534)
path = Path(sys.argv[1])
for attempt in (lambda: ClientServices.load(path), lambda: ClientServices.load(make_sandbox_services(path.parent, path.parent))):
    try:
        attempt()
    except ConfigurationError as problem:
        print("cause:", problem.cause)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="needs another user")
@pytest.mark.parametrize(("folder_mode", "file_mode"), [(0o755, 0o600), (0o700, 0o644)])
def test_a_file_that_may_not_be_read_is_said_with_the_remedy(folder_mode, file_mode):
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:  # pytest would keep others out of its own
        work = Path(folder) / "work"
        work.mkdir()
        write(work / "client-services-config.json", {"one": {"secret": "s"}}).chmod(file_mode)
        Path(folder).chmod(0o755)
        work.chmod(folder_mode)
        command = [sys.executable, "-c", UNREADABLE, str(work / "client-services-config.json")]
        source = str(Path(__file__).parents[2] / "src")
        run = subprocess.run(
            command, env={"PYTHONPATH": source}, capture_output=True, text=True, check=True, timeout=30
        )
    causes = [line for line in run.stdout.splitlines() if line.startswith("cause:")]
    assert [("uid 65534" in cause, "chmod o+r" in cause) for cause in causes] == [(True, True)] * 2


def test_a_folder_that_cannot_be_written_falls_back(tmp_path):
    (tmp_path / "work").write_text("a file where a folder should be")
    path = make_sandbox_services(tmp_path / "work", tmp_path / "sandbox")
    assert path.parent == tmp_path / "sandbox"
    assert make_sandbox_services(tmp_path / "work", tmp_path / "sandbox") == path
    with pytest.raises(ConfigurationError):
        make_sandbox_services(tmp_path / "work", tmp_path / "work" / "below")


# --- what it says of signatures ---------------------------------------------------------------------------------------


def test_the_defaults_of_signatures(path):
    digest = "A" * 27 + "="
    signature = {
        "level": "T",
        "packaging": "detached",
        "signatureLocation": "ext:ExtensionContent",
        "signatureTransform": "XPATH2_FILTER",
        "canonicalTransform": "EXCLUSIVE_WITH_COMMENTS",
        "coverComments": True,
        "evidenceRecord": True,
        "signaturePolicy": {
            "identifier": "http://example.test/policy",
            "digestAlgorithm": "sha1",
            "digestValue": digest,
            "url": "http://example.test/policy.pdf",
        },
        "signerRole": "supplier",
    }
    services = ClientServices.load(write(path, {"A": {"secret": "s", "signature": signature}, "B": {"secret": "s"}}))
    service = services.get("A")
    assert service is not None
    read = service.signature
    assert read.level is Level.T
    assert read.evidence_record is True
    assert read.options == SignatureOptions(
        "ext:ExtensionContent",
        "XPATH2_FILTER",
        "EXCLUSIVE_WITH_COMMENTS",
        True,
        SignaturePolicy("http://example.test/policy", "sha1", bytes(20), "http://example.test/policy.pdf"),
        "supplier",
        True,
    )
    other = services.get("B")
    assert other is not None
    assert other.signature == SignatureDefaults()


@pytest.mark.parametrize(
    ("signature", "said"),
    [
        ([], "signature is not an object"),
        ({"Level": "T"}, "unknown key 'Level'"),
        ({"level": "LTV"}, "signature.level is not one of B, T, LT, LTA"),
        ({"level": 2}, "signature.level is not one of"),
        ({"packaging": "enveloping"}, "signature.packaging is not one of attached, detached"),
        ({"signatureTransform": "BASE64"}, "signature.signatureTransform is not one of ENVELOPED"),
        ({"canonicalTransform": "INCLUSIVE"}, "signature.canonicalTransform is not one of"),
        ({"coverComments": "yes"}, "signature.coverComments is neither true nor false"),
        ({"coverComments": 0}, "signature.coverComments is neither true nor false"),
        ({"evidenceRecord": "true"}, "signature.evidenceRecord is neither true nor false"),
        ({"signerRole": "a\nb"}, "signature.signerRole is not a text in one line"),
        ({"signatureLocation": 7}, "signature.signatureLocation is not a text"),
        ({"signaturePolicy": "urn:p"}, "signature.signaturePolicy is not an object"),
        ({"signaturePolicy": {"id": "urn:p"}}, "signature.signaturePolicy has the unknown key 'id'"),
        ({"signaturePolicy": {"identifier": "urn:p"}}, "needs an identifier, and a digestValue"),
        ({"signaturePolicy": {"identifier": "urn:p", "digestValue": "AAAA"}}, "that is a sha256 digest in base64"),
        ({"signaturePolicy": {"identifier": "urn:p", "digestAlgorithm": "md5"}}, "digestAlgorithm is not one of sha1"),
    ],
)
def test_a_wrong_word_about_signatures_refuses_the_file(path, signature, said):
    """And what was read before stays in force."""
    services = ClientServices.load(write(path, {"A": {"secret": "s", "signature": {"level": "T"}}}))
    write(path, {"A": {"secret": "another", "signature": signature}})
    assert not services.reload_if_changed()
    assert said in (services.problem or "") and "client service 'A'" in (services.problem or "")
    service = services.get("A")
    assert service is not None
    assert service.signature.level is Level.T


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("Signature", "signature"),
        ("signatures", "signature"),
        ("sinature", "signature"),
        ("credentialID", "credentialId"),
        ("pin_file", "pinFile"),
        ("inactive", "active"),
        ("previous-secret", "previousSecret"),
        ("secrets", "secret"),
    ],
)
def test_a_misspelt_key_beside_the_secret_is_refused(path, key, meant):
    """Otherwise it would be taken for a key of the original product, and its signatures would be at level B."""
    write(path, {"A": {"secret": "canary", key: {"level": "T"}}})
    with pytest.raises(
        ConfigurationError, match=f"client service 'A': the key '{key}'.* '{meant}' may be meant"
    ) as refusal:
        ClientServices.load(path)
    assert "canary" not in refusal.value.cause


def test_other_keys_of_the_original_are_ignored(path):
    table = {
        "secret": "s",
        "logo": {"level": "T"},
        "alias": "a",
        "cron": "0 0/5 * * * ?",
        "clientName": "x",
    }
    assert ClientServices.load(write(path, {"A": table})).get("A") == ClientServices.load(
        write(path, {"A": {"secret": "s"}})
    ).get("A")


def test_levels_that_no_signature_can_have_are_named(path):
    table = {
        "A": {"secret": "s", "signature": {"level": "T"}},
        "B": {"secret": "s", "signature": {"level": "LTA"}},
        "C": {"secret": "s"},
        "D": {"secret": "s", "active": False, "signature": {"level": "LT"}},
    }
    services = ClientServices.load(write(path, table))
    without = unreachable_levels("B", services, has_time_stamps=False)
    assert [problem.partition(" asks")[0] for problem in without] == ["client service A", "client service B"]
    assert all("--timestamp-urls" in problem for problem in without)
    assert unreachable_levels("LTA", services, has_time_stamps=True) == []
    recorded = {"A": {"secret": "s", "signature": {"evidenceRecord": True}}, "B": {"secret": "s"}}
    services = ClientServices.load(write(path, recorded))
    (problem,) = unreachable_levels("B", services, has_time_stamps=False)
    assert problem.startswith("client service A asks for evidence records") and "--timestamp-urls" in problem
    assert unreachable_levels("B", services, has_time_stamps=True) == []
    assert unreachable_levels("T", [], has_time_stamps=False)[0].startswith("--signature-level asks for level T")


# --- visible signatures -------------------------------------------------------------------------------------------------


def test_the_template_of_a_client_service_is_read(path):
    table = {"A": {"secret": "s", "visibleSignature": {"oneOffTemplate": "By $certificate.commonName", "font": None}}}
    service = ClientServices.load(write(path, table)).get("A")
    assert service is not None and service.visible is not None
    assert service.visible.one_off_template == "By $certificate.commonName" and service.visible.font == ""


@pytest.mark.parametrize(
    ("visible", "cause"),
    [
        ([], "visibleSignature is not an object"),
        ({"template": "x"}, "visibleSignature has the unknown key 'template'"),
        ({"area": 155}, "visibleSignature.area is not a text"),
        ({"oneOffTemplate": "$nobody"}, "visibleSignature.oneOffTemplate: the template has '$nobody'"),
        ({"font": "size=1000"}, "visibleSignature.font: size=1000"),
        ({"imageValue": "R0lGODlh"}, "visibleSignature.imageValue is neither a PNG nor a JPEG"),
        ({"locationType": "COORDINATE", "locationValue": "left"}, "visibleSignature.locationValue: 'left'"),
        ({"locationValue": "page=1,x=1,y=1"}, "stands without a locationType"),
    ],
)
def test_a_template_that_cannot_be_used_is_refused_at_the_start(path, visible, cause):
    write(path, {"A": {"secret": "s", "visibleSignature": visible}})
    with pytest.raises(ConfigurationError) as refusal:
        ClientServices.load(path)
    assert cause in refusal.value.cause and "client service 'A'" in refusal.value.cause
