"""A table that several processes map and change under one lock."""

import subprocess
import sys
from pathlib import Path

from batchseal.system.mapped import MappedFile

COUNT = """
import struct, sys
from pathlib import Path
from batchseal.system.mapped import MappedFile
table = MappedFile(Path(sys.argv[1]), 4096)
for _ in range(2000):
    with table.locked():
        (count,) = struct.unpack_from("<Q", table.bytes, 8)
        struct.pack_into("<Q", table.bytes, 8, count + 1)
table.close()
"""


def test_no_change_is_lost_between_processes(tmp_path: Path) -> None:
    table = MappedFile(tmp_path / "table", 4096)
    command = [sys.executable, "-c", COUNT, str(tmp_path / "table")]
    for process in [subprocess.Popen(command) for _ in range(3)]:
        assert process.wait(120) == 0
    assert int.from_bytes(table.bytes[8:16], "little") == 6000
    table.close()


def test_the_file_has_its_room_from_the_beginning(tmp_path: Path) -> None:
    """A full disk would end a process that writes to a mapped page without room."""
    MappedFile(tmp_path / "table", 1 << 20).close()
    assert (tmp_path / "table").stat().st_blocks * 512 >= 1 << 20
    assert (tmp_path / "table").stat().st_mode & 0o777 == 0o600
