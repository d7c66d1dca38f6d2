"""The temp folder of an instance: who the instance is, and whether it runs."""

import os
from pathlib import Path

import pytest

from batchseal.errors import ConfigurationError
from batchseal.processes.instance import in_use, instance_identity, open_lock, take_lock


def test_a_folder_is_in_use_while_its_lock_is_held(tmp_path: Path) -> None:
    assert not in_use(tmp_path)
    lock = open_lock(tmp_path)
    assert not in_use(tmp_path)
    take_lock(lock, tmp_path)
    assert in_use(tmp_path)
    os.close(lock)
    assert not in_use(tmp_path)


def test_a_second_service_in_the_folder_is_refused(tmp_path: Path) -> None:
    first, second = open_lock(tmp_path), open_lock(tmp_path)
    take_lock(first, tmp_path)
    with pytest.raises(ConfigurationError, match="another service works in this folder"):
        take_lock(second, tmp_path)
    os.close(first)
    take_lock(second, tmp_path)
    os.close(second)


def test_an_instance_keeps_its_identity(tmp_path: Path) -> None:
    assert instance_identity(tmp_path) == instance_identity(tmp_path)
    (tmp_path / "instance-id").write_text("no UUID")
    assert instance_identity(tmp_path) == instance_identity(tmp_path)
