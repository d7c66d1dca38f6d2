"""A folder whose mount hangs holds up nobody else: neither at the start, nor when the configuration changes, nor for good."""

import json
import time
from pathlib import Path

import pytest
from harness.hot_folders import FAST_FLAGS, Folders, below, put
from harness.invoices import invoice
from harness.service import RunningService
from tests.support.hanging_mount import can_mount, hanging_mount
from tests.support.service import FAST, get, until


@pytest.fixture
def place(tmp_path: Path) -> Path:
    if not can_mount(tmp_path / "tried"):
        pytest.skip("needs to mount a file system")
    tmp_path.chmod(0o711)
    return tmp_path


def configured(place: Path, *names: str) -> dict[str, Folders]:
    """The folders of client services, the first of which has its input on a mount that hangs."""
    folders = {name: Folders.make(place / name) for name in names}
    (place / "work").mkdir(exist_ok=True)
    path = place / "work" / "client-services-config.json"
    path.write_text(json.dumps({name: {"secret": "s" * 20, **one.entry()} for name, one in folders.items()}))
    path.chmod(0o600)
    return folders


def test_a_mount_that_hangs_holds_up_its_own_folder_alone(place: Path) -> None:
    folders = configured(place, "hangs", "works")
    with hanging_mount(folders["hangs"].input):
        began = time.monotonic()
        with RunningService(*FAST, *FAST_FLAGS, folder=place) as service:
            put(folders["works"], "first.pdf", invoice(1, size_bytes=9_000))
            until(lambda: "first.pdf" in below(folders["works"].output), 90)
            until(lambda: b"does not answer" in service.log.read_bytes())
            until(lambda: b"batchseal_hotfolder_folders_stalled 1.0" in get(service, "/metrics")[2])
            # A client service that comes later begins too, and one whose folder hangs goes.
            later = configured(place, "works", "later")
            put(later["later"], "second.pdf", invoice(2, size_bytes=9_000))
            until(lambda: "second.pdf" in below(later["later"].output), 60)
        assert time.monotonic() - began < 300
