"""Settings: their precedence, spellings and checks."""

import socket
from pathlib import Path
from typing import Any

import pytest

from batchseal.errors import ConfigurationError
from batchseal.settings.load import (
    OPTIONS,
    Settings,
    client_secret,
    default_temp_folder,
    environment_names,
    load_settings,
    modern_flag,
    parse_value,
)

SAMPLES = {
    bool: ("true", True),
    int: ("17", 17),
    float: ("1.5", 1.5),
    Path: ("/a/b", Path("/a/b")),
    str: ("some", "some"),
}


def sample(name: str) -> tuple[str, object]:
    """A text that the setting takes, other than its default, and the value it stands for."""
    option = OPTIONS[name]
    if choices := option.metadata["choices"]:
        other = next(choice for choice in choices if choice != option.default)
        return other, other
    special = {
        "service_domain": "https://s",
        "advertised_address": "h:1",
        "trusted_proxies": "10.0.0.0/8 ::1",
        "visible_area": "width=1,height=2",
        "payload_store": "shared:/volume",
        "webhook_retries": "0 60",
        "operator_port": "8443",
        "operator_url": "https://operator.example",
        "operator_proxies": "10.0.0.1",
        "operator_oidc_issuer": "https://login.example",
        "log_to": "stdout",
        "otlp_endpoint": "http://collector:4318",
    }
    if name in special:
        return special[name], special[name]
    assert isinstance(option.type, type)
    return SAMPLES[option.type]


# What some settings are given together with.
ROLES = {"operator_roles": "team=viewer"}
TOGETHER = {
    "operator_user_header": {"operator_proxies": "10.0.0.1", **ROLES},
    "operator_proxies": {"operator_user_header": "X-User", **ROLES},
    "operator_oidc_issuer": {"operator_oidc_client": "c", "operator_url": "https://operator.example", **ROLES},
}
FILES = ("config", "log_syslog_ca", "operator_oidc_secret_file")  # these have to be there
LOADABLE = [name for name in OPTIONS if name not in FILES and not name.startswith("tls_")]


@pytest.mark.parametrize("name", LOADABLE)
def test_each_setting_comes_from_flag_environment_and_file(name: str, tmp_path: Path) -> None:
    (text, value), others = sample(name), TOGETHER.get(name, {})
    assert getattr(load_settings({name: text, **others}, {}), name) == value
    for variable in environment_names(name):
        assert getattr(load_settings(others, {variable: text}), name) == value
    for key in (name, modern_flag(name)[2:]):
        file = tmp_path / "settings.toml"
        file.write_text(f'{key} = "{text}"\n')
        assert getattr(load_settings({"config": str(file), **others}, {}), name) == value


def test_flag_beats_environment_beats_file(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("port = 1\nworkers = 1\nmax-documents = 1\n")
    environment = {"BATCHSEAL_CONFIG": str(file), "BATCHSEAL_PORT": "2", "BATCHSEAL_WORKERS": "2"}
    settings = load_settings({"port": "3"}, environment)
    assert (settings.port, settings.workers, settings.max_documents) == (3, 2, 1)


def test_an_empty_value_does_not_hide_the_next_source() -> None:
    assert load_settings({"port": ""}, {"BATCHSEAL_PORT": "2"}).port == 2
    assert load_settings({}, {"BATCHSEAL_PORT": ""}).port == Settings().port


def test_the_originals_environment_names_are_read_in_both_spellings() -> None:
    for variable in ("EINVOICEINTEGRATIONCLIENT_SERVICE_DOMAIN", "EINVOICE_INTEGRATION_CLIENT_SERVICE_DOMAIN"):
        assert load_settings({}, {variable: "https://s"}).service_domain == "https://s"
    assert load_settings({}, {"SERVER_HOST_PORT": "a:1"}).advertised == ("a", 1)
    assert load_settings({}, {"HOT_FOLDER_ENABLED": "True"}).hot_folder_enabled


def test_values_of_a_file_keep_their_toml_types(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('hot-folder-enabled = true\nport = 9\ntemp-folder = "/x"\ndatabase-url = ""\n')
    settings = load_settings({"config": str(file)}, {})
    assert (settings.hot_folder_enabled, settings.port, settings.temp_folder) == (True, 9, Path("/x"))


@pytest.mark.parametrize("text", ["prot = 1", "port = ", "port = 'x'", "[port]\na = 1"])
def test_a_wrong_file_is_told_by_name(tmp_path: Path, text: str) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(text)
    with pytest.raises(ConfigurationError):
        load_settings({"config": str(file)}, {})
    with pytest.raises(ConfigurationError, match=r"missing\.toml"):
        load_settings({"config": str(tmp_path / "missing.toml")}, {})


@pytest.mark.parametrize("value", ['["a.example", "b.example"]', "{a = 1}", "2026-11-30"])
def test_a_list_in_a_file_is_not_taken_for_a_text(tmp_path: Path, value: str) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(f"webhook-hosts = {value}\n")
    with pytest.raises(ConfigurationError, match=r"webhook-hosts .* one text"):
        load_settings({"config": str(file)}, {})


@pytest.mark.parametrize("text", ["true", "True", "TRUE", "1", "yes"])
def test_booleans(text: str) -> None:
    assert parse_value("hot_folder_enabled", text) is True


@pytest.mark.parametrize(
    ("name", "text"),
    [("port", "1.5"), ("port", "-1"), ("port", "65536"), ("workers", "-1"), ("log_level", "loud"),
     ("sandbox_credential", "RSA"), ("hot_folder_enabled", "on!"), ("service_domain", "ftp://s"),
     ("advertised_address", "host"), ("advertised_address", "host:http"), ("visible_pixels_per_point", "much"),
     ("visible_pixels_per_point", "0"), ("visible_area", "width=3"), ("visible_template", "$nobody")],
)  # fmt: skip
def test_wrong_values_are_refused(name: str, text: str) -> None:
    with pytest.raises(ConfigurationError):
        load_settings({name: text}, {})


@pytest.mark.parametrize("name", ["service_domain", "upstream_url"])
def test_the_sandbox_and_a_signing_service_are_not_both_asked_for(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"--sandbox .* https://s "):
        load_settings({"sandbox": "true", name: "https://s"}, {})
    assert not load_settings({name: "https://s"}, {}).uses_sandbox


def test_the_sandbox_is_unasked_unless_a_flag_or_a_signing_service_is_set() -> None:
    assert load_settings({}, {"EINVOICEINTEGRATIONCLIENT_SERVICE_DOMAIN": ""}).sandbox_is_unasked
    assert not load_settings({"sandbox": "true"}, {}).sandbox_is_unasked
    assert not load_settings({"service_domain": "https://s"}, {}).sandbox_is_unasked
    # Its children are told the address of the sandbox as the service domain.
    told: dict[str, Any] = {"service_domain": "http://127.0.0.1:9", "sandbox_signs": True}
    assert Settings(**told).sandbox_is_unasked and not Settings(**told, sandbox=True).sandbox_is_unasked


@pytest.mark.parametrize(
    ("name", "text"),
    [("share_memory", "51"), ("share_space", "-1"), ("share_signing", "101"), ("max_deliveries", "0"),
     ("spare_threads", "-1"), ("max_document_rows", "-1"), ("min_reply_rate", "-1"),
     ("payload_hours_fetched", "-1"), ("payload_days_unfetched", "-7"), ("document_days", "-1"), ("text_days", "-1"),
     ("reference_days", "-1"), ("audit_days", "-1")],
)  # fmt: skip
def test_a_share_or_a_number_that_makes_no_sense_is_told_by_its_flag(name: str, text: str) -> None:
    with pytest.raises(ConfigurationError, match=modern_flag(name)):
        load_settings({name: text}, {})


def test_the_advertised_address_is_told_or_the_listening_one() -> None:
    assert load_settings({"host": "h", "port": "9"}, {}).advertised == ("h", 9)
    assert load_settings({"advertised_address": "[::1]:9"}, {}).advertised == ("::1", 9)


def test_no_two_settings_share_a_name() -> None:
    names = [modern_flag(name)[2:] for name in OPTIONS] + [o.metadata["dotted"] for o in OPTIONS.values()]
    used = [name for name in names if name]
    assert len(used) == len(set(used))
    variables = [variable for name in OPTIONS for variable in dict.fromkeys(environment_names(name))]
    assert len(variables) == len(set(variables))


def test_the_clients_secret_comes_from_the_environment() -> None:
    assert client_secret({"BATCHSEAL_SECRET": "s"}) == "s"
    assert client_secret({}) == ""


def test_the_default_folder_is_one_of_the_user(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path)}
    state = tmp_path / ".local" / "state" / "batchseal"
    assert default_temp_folder({"STATE_DIRECTORY": "/var/lib/a", "XDG_STATE_HOME": "/s", **home}, 1000) == Path(
        "/var/lib/a"
    )
    assert default_temp_folder({"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"}, 0) == Path("/var/lib/a")
    assert default_temp_folder({"XDG_STATE_HOME": "/s", **home}, 1000) == Path("/s/batchseal")
    assert default_temp_folder({"XDG_STATE_HOME": "relative", **home}, 1000) == state
    assert default_temp_folder(home, 1000) == state
    # Root's environment may name the home of the user who has become root.
    for environment, uid in ((home, 0), ({}, 1000), ({"HOME": "/"}, 1000), ({"HOME": str(tmp_path / "none")}, 1000)):
        assert default_temp_folder(environment, uid) == Path("/var/lib/batchseal")
    assert default_temp_folder({"XDG_STATE_HOME": "/s"}, 0) == Path("/s/batchseal")


def test_a_named_folder_is_not_the_default(tmp_path: Path) -> None:
    assert not load_settings({"temp_folder": "/x"}, {}).temp_folder_is_default
    assert not load_settings({}, {"BATCHSEAL_TEMP_FOLDER": "/x"}).temp_folder_is_default
    (tmp_path / "file").write_text('temp-folder = "/x"')
    assert not load_settings({"config": str(tmp_path / "file")}, {}).temp_folder_is_default
    settings = load_settings({"temp_folder": ""}, {"STATE_DIRECTORY": "/s"})
    assert (settings.temp_folder, settings.temp_folder_is_default) == (Path("/s"), True)


def test_a_shared_database_is_not_deleted_by_an_old_command_line() -> None:
    flags = {"force_database_recreate": "true"}
    assert load_settings(flags, {}).force_database_recreate
    with pytest.raises(ConfigurationError, match="--force-database-recreate-shared"):
        load_settings({**flags, "database_url": "postgresql://h/d"}, {})
    with pytest.raises(ConfigurationError, match="every instance"):
        load_settings({"database_url": "postgresql://h/d"}, {"FORCE_DATABASE_RECREATE": "true"})
    assert load_settings({**flags, "database_url": "postgresql://h/d", "force_database_recreate_shared": "true"}, {})


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", "127.0.0.1:8080"),
        ("::1", "[::1]:8080"),
        ("0.0.0.0", f"{socket.gethostname()}:8080"),
        ("::", f"{socket.gethostname()}:8080"),
    ],
)
def test_where_an_instance_listens_can_be_called(host: str, expected: str) -> None:
    assert Settings(host=host, advertised_address="seal.example:443").listens == expected
