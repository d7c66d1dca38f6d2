"""What a backup says of itself, and what is refused."""

import json
from typing import Any

import pytest

from batchseal.commands.backups.manifest import DATABASE, INDEX, PAYLOADS, Manifest, note_of
from batchseal.commands.backups.restoring import require_empty
from batchseal.commands.backups.taking import make_empty
from batchseal.errors import ConfigurationError


@pytest.fixture
def folder(tmp_path):
    for name in (DATABASE, INDEX, PAYLOADS):
        (tmp_path / name).write_bytes(name.encode())
    files = {name: note_of(tmp_path / name) for name in (DATABASE, INDEX, PAYLOADS)}
    texts = dict.fromkeys(("began_at", "ended_at", "version", "postgres", "instance", "payload_store"), "x")
    fields: dict[str, Any] = texts | dict.fromkeys(("operations", "unfinished", "last_id", "payloads"), 1)
    Manifest(**fields, missing=[3], files=files).write(tmp_path)
    return tmp_path


def silent(text):
    pass


def test_a_manifest_is_read_as_it_was_written(folder):
    manifest = Manifest.read(folder)
    assert manifest.missing == [3] and manifest.files[PAYLOADS].bytes == len(PAYLOADS)
    manifest.check(folder, silent)


@pytest.mark.parametrize("name", [DATABASE, INDEX, PAYLOADS])
def test_a_changed_file_is_named(folder, name):
    (folder / name).write_bytes(name.encode()[:-1] + b"?")
    with pytest.raises(ConfigurationError, match=f"{name} is not what was written"):
        Manifest.read(folder).check(folder, silent)
    (folder / name).unlink()
    with pytest.raises(ConfigurationError, match=f"{name}: No such file"):
        Manifest.read(folder).check(folder, silent)


def test_a_folder_without_a_manifest_is_no_backup(tmp_path):
    with pytest.raises(ConfigurationError, match="no complete backup"):
        Manifest.read(tmp_path)


@pytest.mark.parametrize("content", [b"{", b"[]", b"{}", b'{"format": 1, "files": {}}'])
def test_a_manifest_that_cannot_be_read_is_said_so(tmp_path, content):
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(ConfigurationError):
        Manifest.read(tmp_path)


def test_a_newer_format_is_refused(folder):
    fields = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(fields | {"format": 2}))
    with pytest.raises(ConfigurationError, match="format 2, this release knows 1"):
        Manifest.read(folder)


def test_a_backup_needs_an_empty_folder(tmp_path):
    make_empty(tmp_path / "new" / "below")
    (tmp_path / "file").touch()
    with pytest.raises(ConfigurationError, match="not empty"):
        make_empty(tmp_path)


def test_a_restore_needs_an_empty_folder(tmp_path):
    require_empty(tmp_path / "none")
    (tmp_path / "lost+found").mkdir()
    require_empty(tmp_path)
    (tmp_path / "instance-id").touch()
    with pytest.raises(ConfigurationError, match="not empty \\(instance-id\\)"):
        require_empty(tmp_path)
