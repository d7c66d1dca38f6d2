"""What a container allows this process, read from the files of its control groups."""

from pathlib import Path

import pytest

from batchseal.system import cgroups
from batchseal.system.cgroups import available_cores, available_memory, memory_limit, physical_memory


def test_the_memory_limit_is_the_lowest_of_the_tree(tmp_path: Path) -> None:
    proc, root = tmp_path / "cgroup", tmp_path / "fs"
    (root / "a" / "b").mkdir(parents=True)
    (root / "a" / "memory.max").write_text("500\n")
    (root / "a" / "b" / "memory.max").write_text("max\n")
    proc.write_text("0::/a/b\n")
    assert memory_limit(proc, root) == 500
    (root / "memory").mkdir()
    (root / "memory" / "memory.limit_in_bytes").write_text("400\n")
    proc.write_text("12:cpu:/x\n7:memory:/gone/from/here\n")
    assert memory_limit(proc, root) == 400
    (root / "memory" / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert memory_limit(proc, root) is None


def test_limits_of_either_version_of_cgroups(tmp_path: Path) -> None:
    proc, root = tmp_path / "cgroup", tmp_path / "fs"
    (root / "a").mkdir(parents=True)
    (root / "a" / "memory.max").write_text("314572800\n")
    (root / "a" / "cpu.max").write_text("150000 100000\n")
    proc.write_text("0::/a\n")
    assert memory_limit(proc, root) == 300 << 20
    assert available_cores(proc, root) <= 2
    (root / "a" / "cpu.max").write_text("max 100000\n")
    unlimited = available_cores(proc, root)
    for controller, name, text in (
        ("memory", "memory.limit_in_bytes", "209715200"),
        ("cpu", "cpu.cfs_quota_us", "50000"),
        ("cpu", "cpu.cfs_period_us", "100000"),
    ):
        (root / controller).mkdir(exist_ok=True)
        (root / controller / name).write_text(text + "\n")
    proc.write_text("4:memory:/docker/x\n3:cpu,cpuacct:/docker/x\n")
    assert memory_limit(proc, root) == 200 << 20
    assert available_cores(proc, root) == 1
    (root / "cpu" / "cpu.cfs_quota_us").write_text("-1\n")
    assert available_cores(proc, root) == unlimited


def test_what_the_operator_says_goes_before_the_container_and_that_before_the_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cgroups, "memory_limit", lambda: 300)
    assert available_memory(200) == 200
    assert available_memory() == 300
    monkeypatch.setattr(cgroups, "memory_limit", lambda: None)
    assert available_memory() == physical_memory() > 0
