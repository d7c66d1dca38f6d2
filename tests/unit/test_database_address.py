"""The address of the database: its hosts, the kind of server it asks for, and the file it may come from."""

from pathlib import Path

import pytest

from batchseal.errors import ConfigurationError
from batchseal.settings.load import check_pooler, load_settings
from batchseal.store.address import Address, address_of, for_each_host, wanted_server


@pytest.mark.parametrize(
    ("url", "each"),
    [
        ("postgresql://u@h/db", ["postgresql://u@h/db"]),
        ("postgresql://u:p%40@a:1,b:2/db?x=y", ["postgresql://u:p%40@a:1/db?x=y", "postgresql://u:p%40@b:2/db?x=y"]),
        ("postgresql://u@a,[::1]:7,c/db", ["postgresql://u@a/db", "postgresql://u@[::1]:7/db", "postgresql://u@c/db"]),
        ("postgresql://u@/db?host=%2Fa%2Fb&port=5432", ["postgresql://u@/db?host=%2Fa%2Fb&port=5432"]),
        ("postgresql://u@/db?host=a,b", ["postgresql://u@/db?host=a", "postgresql://u@/db?host=b"]),
        (
            "postgresql://u@/db?host=%2Fa,b&port=1,2",
            ["postgresql://u@/db?host=%2Fa&port=1", "postgresql://u@/db?host=b&port=2"],
        ),
        (
            "postgresql://u@/db?host=a,b&port=1",
            ["postgresql://u@/db?host=a&port=1", "postgresql://u@/db?host=b&port=1"],
        ),
    ],
)
def test_each_host_gets_an_address(url: str, each: list[str]) -> None:
    assert for_each_host(url) == each


def test_hosts_without_their_ports_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="3 hosts and 2 ports"):
        for_each_host("postgresql://u@/db?host=a,b,c&port=1,2")


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("postgresql://u@a/db", None),
        ("postgresql://u@a,b/db", "read-write"),
        ("postgresql://u@a/db?target_session_attrs=primary", "primary"),
        ("postgresql://u@a,b/db?target_session_attrs=any", "any"),
    ],
)
def test_of_several_servers_the_one_that_writes_is_wanted(url: str, wanted: str | None) -> None:
    assert wanted_server(url) == wanted


@pytest.mark.parametrize("asked", ["standby", "prefer-standby", "read-only", "primry"])
def test_servers_that_only_read_are_refused(asked: str) -> None:
    with pytest.raises(ConfigurationError, match="read-write"):
        wanted_server(f"postgresql://u@a,b/db?target_session_attrs={asked}")


def test_a_file_is_read_each_time(tmp_path: Path) -> None:
    address = Address(file=str(tmp_path / "url"))
    with pytest.raises(ConfigurationError, match="cannot be read"):
        address.read()
    (tmp_path / "url").write_text("postgresql://u:one@h/db\n")
    assert address.read() == "postgresql://u:one@h/db"
    (tmp_path / "url").write_text("postgresql://u:two@h/db")
    assert address.read() == "postgresql://u:two@h/db"
    (tmp_path / "url").write_text(" \n")
    with pytest.raises(ConfigurationError, match="holds no address"):
        address.read()


def test_the_settings_name_one_address_for_each_role() -> None:
    settings = load_settings(
        {"database_url_file": "f", "database_owner_url": "o", "database_pooler": "transaction"}, {}
    )
    assert not settings.has_embedded_database
    assert address_of(settings) == Address("", "f", "transaction")
    assert address_of(settings, owner=True) == Address("o", "", "transaction")
    assert load_settings({}, {}).has_embedded_database


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ({"database_url": "u", "database_url_file": "f"}, "--database-url and --database-url-file"),
        ({"database_owner_url": "u", "database_owner_url_file": "f"}, "--database-owner-url-file"),
        ({"database_pooler": "session", "database_url": "u"}, "not one of transaction"),
        ({"database_url_file": "f", "force_database_recreate": "true"}, "--force-database-recreate-shared"),
    ],
)
def test_settings_of_the_database_that_do_not_go_together(flags: dict[str, str], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        load_settings(flags, {})


def test_a_pooler_before_the_embedded_database_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no pooler stands before the embedded database"):
        check_pooler(load_settings({"database_pooler": "transaction"}, {}))
    check_pooler(load_settings({"database_pooler": "transaction", "database_url_file": "f"}, {}))
