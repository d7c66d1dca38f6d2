"""The second file of client services, `batchseal-services.json`: how it joins the first, and what a change of either does."""

import json
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from batchseal.commands.check import check_configuration
from batchseal.errors import ConfigurationError
from batchseal.processes.supervisor import check_services
from batchseal.settings.client_services import SANDBOX_SERVICE, ClientServices, make_sandbox_services
from batchseal.settings.load import Settings, load_settings
from batchseal.settings.services_files import FILE_NAME, OWN_FILE_NAME
from batchseal.signature import Level


def write(path: Path, table: object) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(table if isinstance(table, str) else json.dumps(table))
    path.chmod(0o600)
    return path


@pytest.fixture
def first(tmp_path: Path) -> Path:
    return write(tmp_path / FILE_NAME, {"A": {"secret": "one"}, "B": {"secret": "two", "inputFolder": "in"}})


@pytest.fixture
def second(tmp_path: Path) -> Path:
    return write(tmp_path / OWN_FILE_NAME, {"A": {"signature": {"level": "T"}}})


def level(services: ClientServices, name: str = "A") -> Level:
    service = services.get(name)
    assert service is not None
    return service.signature.level


def test_both_files_say_what_a_client_service_is(first: Path, second: Path) -> None:
    own = {
        "credentialId": "c",
        "pinFile": "pins/a",
        "active": False,
        "previousSecret": "zero",
        "signature": {"level": "T"},
    }
    write(second, {"A": own, "B": {}})
    services = ClientServices.load(first, strict=True)
    a, b = services.get("A"), services.get("B")
    assert a is not None and b is not None
    assert (a.credential_id, a.pin_file, a.active) == ("c", second.parent / "pins/a", False)
    assert a.secrets == ("one", "zero") and a.signature.level is Level.T
    assert (b.credential_id, b.active, b.signature.level) == (None, True, Level.B)


def test_a_key_may_stand_in_either_file(first: Path, second: Path) -> None:
    write(first, {"A": {"secret": "one", "credentialId": "c", "signature": None}})
    service = ClientServices.load(first).get("A")
    assert service is not None
    assert (service.credential_id, service.signature.level) == ("c", Level.T)


@pytest.mark.parametrize(
    ("own", "said"),
    [
        ("{", "line 1"),
        ([], "not an object"),
        ({"A": []}, "'A': is not an object"),
        ({"A": {"Level": "T"}}, "unknown key: 'Level'"),
        ({"A": {"signature": {"levle": "T"}}}, "unknown key 'levle'"),
        ({"A": {"secret": "canary"}}, "the secret stands in the other file"),
        ({"A": {"inputFolder": "in"}}, "unknown key: 'inputFolder'"),
        ({"a": {"signature": {"level": "T"}}}, "client-services-config.json has no client service with this id"),
        ('{"A": {}, "A": {"signature": {"level": "T"}}}', "'A' is there twice"),
    ],
)
def test_a_wrong_second_file_is_refused_and_what_it_said_stays(
    first: Path, second: Path, own: object, said: str
) -> None:
    services = ClientServices.load(first)
    write(second, own)
    assert not services.reload_if_changed()
    assert services.problem is not None and said in services.problem and str(second) in services.problem
    assert "canary" not in services.problem and level(services) is Level.T
    with pytest.raises(ConfigurationError, match=OWN_FILE_NAME):
        ClientServices.load(first, strict=True)
    write(second, {"A": {"signature": {"level": "LT"}}})
    assert services.reload_if_changed() and services.problem is None and level(services) is Level.LT


def test_a_key_that_both_files_have_is_refused(first: Path, second: Path) -> None:
    services = ClientServices.load(first)
    write(first, {"A": {"secret": "other", "signature": {"level": "B"}}})
    assert services.reload_if_changed()
    assert services.problem is not None and "'A': signature stands in" in services.problem
    a = services.get("A")
    # The level stays as it was, and the secret that the first file took away is gone.
    assert a is not None and a.accepts("other") and not a.accepts("one") and level(services) is Level.T
    write(second, {})
    assert services.reload_if_changed() and level(services) is Level.B and services.problem is None


def test_a_mistake_in_one_file_does_not_hold_up_the_other(first: Path, second: Path) -> None:
    services = ClientServices.load(first)
    write(second, "{")
    write(first, {"A": {"secret": "new one"}})
    assert services.reload_if_changed() and services.problem
    a = services.get("A")
    assert a is not None and a.accepts("new one") and not a.accepts("one")
    assert services.get("B") is None and level(services) is Level.T
    write(second, {"A": {"signature": {"level": "LTA"}}})
    write(first, "[")
    assert services.reload_if_changed() and level(services) is Level.LTA
    assert services.problem is not None and str(second) not in services.problem


def test_a_client_service_that_the_first_file_loses_is_gone_at_once(first: Path, second: Path) -> None:
    services = ClientServices.load(first)
    write(first, {"B": {"secret": "two"}})
    with capture_logs() as said:
        assert services.reload_if_changed() and services.problem is None
    assert services.ids() == ["B"]
    assert [entry["client_services"] for entry in said if OWN_FILE_NAME in entry["event"]] == [["A"]]
    # A process that is started again must come up, and a start that somebody watches says what is wrong.
    assert ClientServices.load(first, remarks=False).ids() == ["B"]
    with pytest.raises(ConfigurationError, match=r"'A': client-services-config\.json has no"):
        ClientServices.load(first, strict=True)


def test_a_deleted_second_file_lowers_no_level(first: Path, second: Path) -> None:
    services = ClientServices.load(first)
    second.unlink()
    assert not services.reload_if_changed()
    assert services.problem is not None and "gone" in services.problem and level(services) is Level.T


def test_a_second_file_that_appears_is_read(first: Path) -> None:
    services = ClientServices.load(first)
    assert level(services) is Level.B
    write(first.with_name(OWN_FILE_NAME), {"A": {"signature": {"level": "T"}}})
    assert services.reload_if_changed() and level(services) is Level.T


def test_others_may_read_a_second_file_without_secrets(first: Path, second: Path) -> None:
    second.chmod(0o644)
    with capture_logs() as said:
        services = ClientServices.load(first)
        write(second, {"A": {"previousSecret": "a long enough secret"}}).chmod(0o644)
        services.reload_if_changed()
    assert [entry["file"] for entry in said if "mode" in entry] == [str(second)]


def test_the_sandbox_takes_no_second_file_of_an_operator(tmp_path: Path) -> None:
    path = make_sandbox_services(tmp_path, tmp_path)
    own = write(tmp_path / OWN_FILE_NAME, {SANDBOX_SERVICE: {"signature": {"level": "T"}}})
    assert level(ClientServices.load(path, sandbox_only=True), SANDBOX_SERVICE) is Level.T
    write(own, {SANDBOX_SERVICE: {"credentialId": "seal"}})
    with pytest.raises(ConfigurationError, match=r"batchseal-services.json names client services, .* give --sandbox"):
        ClientServices.load(path, sandbox_only=True)


# --- where the files are ----------------------------------------------------------------------------------------------


async def test_the_flag_names_the_first_file_and_the_second_stands_beside_it(tmp_path: Path) -> None:
    named = write(tmp_path / "elsewhere" / "clients.json", {"A": {"secret": "a long enough secret"}})
    write(named.with_name(OWN_FILE_NAME), {"A": {"signature": {"level": "T"}}})
    settings = load_settings({"client_services_file": str(named), "work_folder": str(tmp_path), "sandbox": "true"}, {})
    assert settings.services_file == named and settings.own_services_file == named.with_name(OWN_FILE_NAME)
    check_services(settings)
    assert str(named) in await check_configuration(settings)
    write(settings.own_services_file, {"A": {"level": "T"}})
    with pytest.raises(ConfigurationError, match="unknown key: 'level'"):
        check_services(settings)
    with pytest.raises(ConfigurationError, match="unknown key: 'level'"):
        await check_configuration(settings)


async def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    settings = Settings(client_services_file=str(tmp_path / "misspelt.json"), work_folder=tmp_path)
    with pytest.raises(ConfigurationError, match=r"--client-services-file: .*misspelt.json does not exist"):
        check_services(settings)
    with pytest.raises(ConfigurationError, match="does not exist"):
        await check_configuration(settings)


def test_a_second_file_stays_where_it_is_when_the_sandbox_makes_the_first(tmp_path: Path) -> None:
    work = tmp_path / "work"
    write(work / OWN_FILE_NAME, {SANDBOX_SERVICE: {"signature": {"level": "T"}}})
    settings = Settings(work_folder=work)
    check_services(settings)  # the first file is still to be made
    made = make_sandbox_services(work, tmp_path / "sandbox")
    settings = Settings(work_folder=work, services_path=str(made))
    assert made.parent != work and settings.own_services_file == work / OWN_FILE_NAME
    check_services(settings)
    write(work / OWN_FILE_NAME, {"another": {}})
    with pytest.raises(ConfigurationError, match="'another'"):
        check_services(settings)


def test_without_a_first_file_and_without_a_sandbox_every_id_is_wrong(tmp_path: Path) -> None:
    write(tmp_path / OWN_FILE_NAME, {"A": {"signature": {"level": "T"}}})
    with pytest.raises(ConfigurationError, match=r"'A': client-services-config\.json has no"):
        check_services(Settings(work_folder=tmp_path, service_domain="https://signing.example"))
