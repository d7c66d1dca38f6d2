"""What --payload-store says, where keys come from, and what is refused."""

import os
from pathlib import Path

import pytest

from batchseal.errors import ConfigurationError, PayloadUnavailable
from batchseal.payloads.by_size import PayloadsBySize
from batchseal.payloads.object_keys import Keys, KeysFile
from batchseal.payloads.stores import keys_of, payload_store
from batchseal.settings.load import Settings, load_settings
from batchseal.settings.payload_stores import ObjectAddress, is_private, parse_store


def test_local_is_the_default() -> None:
    settings = load_settings({"temp_folder": "/nowhere"}, {})
    assert settings.payload_store == "local"
    assert not parse_store(settings.payload_store).serves_many
    store = payload_store(Settings(temp_folder=Path("/nowhere"), instance="7"))
    assert isinstance(store, PayloadsBySize)
    assert (store.name, store.place) == ("local:7", None)


def test_an_object_store() -> None:
    address = parse_store(
        "s3://bucket/some/prefix/?endpoint=https://store.example:9000/&region=eu&keys=/etc/keys&profile=seal&ca=/etc/ca.pem"
        "&proxy=http://proxy:3128&no_proxy=.local,store&sse=aws:kms&sse_key=a/b"
    ).objects
    assert address == ObjectAddress(
        bucket="bucket",
        prefix="some/prefix",
        endpoint="https://store.example:9000",
        region="eu",
        path_style=True,
        keys="/etc/keys",
        profile="seal",
        ca="/etc/ca.pem",
        proxy="http://proxy:3128",
        no_proxy=".local,store",
        sse="aws:kms",
        sse_key="a/b",
    )


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("s3://b/p", "https://b.s3.us-east-1.amazonaws.com"),
        ("s3://b/p?path_style=true&region=eu-central-1", "https://s3.eu-central-1.amazonaws.com/b"),
        ("s3://b?endpoint=http://10.0.0.1:9000", "http://10.0.0.1:9000/b"),
        ("s3://b?endpoint=https://store.example&path_style=false", "https://b.store.example"),
    ],
)
def test_where_the_bucket_stands_in_the_address(text: str, url: str) -> None:
    address = parse_store(text).objects
    assert address is not None
    assert address.url == url


@pytest.mark.parametrize(
    "text",
    [
        *("", "S3", "file:/tmp", "shared:", "shared:relative", "s3:bucket", "s3:///prefix", "s3://key:secret@bucket"),
        *("s3://b?endpoint=store:9000", "s3://b?what=1", "s3://b?path_style=yes", "s3://b?sse=ROT13", "local:/tmp"),
    ],
)
def test_what_cannot_be_meant_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="--payload-store"):
        parse_store(text)


@pytest.mark.parametrize("flag", ["payload_store_key", "payload_store_secret"])
def test_half_of_the_keys_is_refused(flag: str) -> None:
    with pytest.raises(ConfigurationError, match="together"):
        load_settings({"payload_store": "s3://bucket", flag: "x"}, {})


def test_keys_come_from_the_environment_and_stay_out_of_the_log() -> None:
    names = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "hush hush", "AWS_SESSION_TOKEN": "token token"}
    settings = load_settings({"payload_store": "s3://bucket"}, names)
    keys = keys_of(settings, ObjectAddress(bucket="bucket", prefix=""))
    assert keys is not None
    assert keys() == Keys("id", "hush hush", "token token")
    assert "hush" not in repr(settings) + repr(keys())
    assert "token token" not in repr(settings) + repr(keys())


def test_without_keys_the_role_of_the_machine_is_used() -> None:
    assert keys_of(load_settings({}, {}), ObjectAddress(bucket="bucket", prefix="")) is None


def test_a_file_of_keys_is_read_again_when_it_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text("[default]\naws_access_key_id = a\naws_secret_access_key = b%c\n[seal]\naws_access_key_id = s\n")
    keys = KeysFile(path, "default")
    assert keys() == Keys("a", "b%c")
    new = tmp_path / "new"
    new.write_text("[default]\naws_access_key_id = c\naws_secret_access_key = d\naws_session_token = e\n")
    os.replace(new, path)
    assert keys() == Keys("c", "d", "e")
    path.unlink()
    with pytest.raises(PayloadUnavailable, match="cannot be read"):
        keys()


@pytest.mark.parametrize("text", ["", "[default]\n", "[other]\naws_access_key_id=a\n", "no section", "[default]\nx"])
def test_a_file_without_keys_is_unavailable(tmp_path: Path, text: str) -> None:
    (tmp_path / "keys").write_text(text)
    with pytest.raises(PayloadUnavailable):
        KeysFile(tmp_path / "keys", "default")()


@pytest.mark.parametrize(
    ("host", "private"),
    [
        *(("10.1.2.3", True), ("192.168.0.1", True), ("127.0.0.1", True), ("::1", True), ("fd00::1", True)),
        *(("seaweedfs", True), ("store.internal", True), ("s3.namespace.svc", True)),
        *(("8.8.8.8", False), ("s3.eu-central-1.amazonaws.com", False), ("store.example.com", False)),
    ],
)
def test_which_hosts_plainly_stand_in_the_house(host: str, private: bool) -> None:
    assert is_private(host) == private
