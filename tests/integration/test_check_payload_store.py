"""What `batchseal check` says of a payload store that several instances share, and what `--fix` sets."""

import asyncio
import os
import tempfile
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from harness.object_stores import KEYS
from tests.support.object_stores import new_prefix, proxied

from batchseal.commands.check import run_checks
from batchseal.errors import ConfigurationError
from batchseal.payloads.checking import check_payload_store, look_at_marker
from batchseal.payloads.frames import FrameKind
from batchseal.payloads.orphans import accept, claim
from batchseal.payloads.raw import raw_payloads
from batchseal.payloads.stores import payload_store, place_of
from batchseal.settings.load import Settings
from batchseal.store.identity import DatabaseIdentity, DatabaseState
from batchseal.store.store import Store


def settings(folder: Path, store: str, **more: str) -> Settings:
    (folder / "spill").mkdir(exist_ok=True)
    keys = {"payload_store_key": KEYS.key_id, "payload_store_secret": KEYS.secret}
    return Settings(temp_folder=folder, payload_store=store, **{**keys, **more})


def objects(server: str) -> str:
    address = new_prefix(proxied(server))
    return f"s3://{address.bucket}/{address.prefix}?endpoint={address.endpoint}"


def said(where: Settings, *, fix: bool = False) -> str:
    return asyncio.run(check_payload_store(where, fix=fix))


def test_a_bucket_is_tried_and_given_its_rule(tmp_path: Path) -> None:
    where = settings(tmp_path, objects("seaweedfs"))
    before = said(where)
    assert "takes, gives and deletes objects" in before
    assert "check --fix" in before
    assert "leave the house" not in before
    after = said(where, fix=True)
    assert "aborts incomplete uploads by itself" in after
    assert "aborts incomplete uploads by itself" in said(where)


def test_a_check_makes_nothing_that_belongs_to_the_service(tmp_path: Path) -> None:
    """As root, and before the first start since the machine was booted, it would make the folder of the copies as root's."""
    where = settings(tmp_path, objects("seaweedfs"))
    said(where)
    assert list((tmp_path / "spill").iterdir()) == []
    raw_payloads(where)
    assert list((tmp_path / "spill").iterdir()) == []


def test_a_store_without_rules_can_be_used_and_says_so(tmp_path: Path) -> None:
    where = settings(tmp_path, objects("rclone"))
    assert "no rule that aborts incomplete uploads" in said(where)
    assert "WARNING: the rules of the bucket cannot be looked at" in said(where, fix=True)


@pytest.mark.parametrize("wrong", ["payload_store_key", "payload_store_secret"])
def test_keys_that_are_wrong_are_bad(tmp_path: Path, wrong: str) -> None:
    with pytest.raises(ConfigurationError, match="refuses the keys"):
        said(settings(tmp_path, objects("seaweedfs"), **{wrong: "nobody"}))


def test_a_folder_is_tried(tmp_path: Path) -> None:
    (tmp_path / "volume").mkdir()
    where = settings(tmp_path, f"shared:{tmp_path / 'volume'}")
    assert "takes, renames and gives back files" in said(where)
    assert list((tmp_path / "volume").iterdir()) == []
    with pytest.raises(ConfigurationError, match="mounted"):
        said(replace(where, payload_store=f"shared:{tmp_path / 'nowhere'}"))


def test_the_whole_command_has_a_line_for_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "volume").mkdir()
    where = settings(tmp_path, f"shared:{tmp_path / 'volume'}")
    run_checks(replace(where, database_url="postgresql://127.0.0.1:1/none"))
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "payload store" in line]
    assert line.startswith("ok ")
    assert "not compared with the database" in line


async def test_a_store_needs_one_database_for_all(tmp_path: Path) -> None:
    (tmp_path / "volume").mkdir()
    where = settings(tmp_path, f"shared:{tmp_path / 'volume'}")
    place = payload_store(where).place
    assert place is not None
    (remark,) = await look_at_marker(where, place, fix=False)
    assert "--database-url" in remark


async def test_a_database_that_was_restored_is_named_until_an_operator_has_looked(
    tmp_path: Path, database_url: str
) -> None:
    (tmp_path / "volume").mkdir()
    where = replace(settings(tmp_path, f"shared:{tmp_path / 'volume'}"), database_url=database_url)
    place = payload_store(where).place
    assert place is not None
    (remark,) = await look_at_marker(where, place, fix=False)
    assert "at the first start" in remark
    store = await Store.connect(database_url, instance=uuid4())
    try:
        identity = DatabaseIdentity(store.database)
        state = await identity.state()
        assert (state.sweeps, state.system_identifier != 0, state.timeline) == (0, True, 1)
        assert await identity.begin_sweep() == replace(state, sweeps=1)
        assert [rows async for rows in identity.live_payloads()] == []
    finally:
        await store.close()
    claim(place, state)
    assert await look_at_marker(where, place, fix=False) == ["the store and the database belong together"]
    accept(place, replace(state, sweeps=5))
    with pytest.raises(ConfigurationError, match="restored"):
        await look_at_marker(where, place, fix=False)
    assert await look_at_marker(where, place, fix=True) == ["the store and the database belong together"]
    assert await look_at_marker(where, place, fix=False) == ["the store and the database belong together"]


def test_the_place_of_an_object_store_is_that_of_its_instances(tmp_path: Path) -> None:
    """A command that stores nothing deletes there, and needs no folder for copies."""
    where = settings(tmp_path, objects("seaweedfs"))
    store, place = payload_store(where), place_of(replace(where, temp_folder=tmp_path / "nowhere"))
    assert place is not None
    claim(place, DatabaseState(uuid4(), 1, 1, 0))
    upload = store.create(uuid4())
    upload.begin()
    upload.append([(FrameKind.DOCUMENT, 0, b"content")])
    record = upload.commit(durable=True)
    upload.release()
    assert set(place.payloads()) == {record.id}
    place.remove({record.id})
    assert place.payloads() == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root could make something that is not the service's")
def test_what_root_makes_in_a_shared_folder_is_the_services(database_url: str) -> None:
    """Else the service, which has another account, could neither store payloads there nor write its marker."""
    owner = 12_345
    with tempfile.TemporaryDirectory(prefix="batchseal-check-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        volume, temp = folder / "volume", folder / "temp"
        for path in (volume, temp):
            path.mkdir(mode=0o700)
        os.chown(volume, owner, owner)
        where = settings(temp, f"shared:{volume}", database_url=database_url)
        assert "belong together" in said(where, fix=True)
        assert "belong together" in said(where)
        made = list(volume.rglob("*"))
        assert {"payloads", "aside", "database.json", "sweep.json"} <= {path.name for path in made}
        assert {path.lstat().st_uid for path in made} == {owner} and os.geteuid() == 0
