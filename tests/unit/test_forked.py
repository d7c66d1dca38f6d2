"""A forked child is what one that was started with `exec` is: it gets settings, says that it is ready, and its end is noticed.

The code runs in a process of its own, as the one of the tests may have threads.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

MODULE = """
import os, signal, sys
from pathlib import Path

LOADED_BY = os.getpid()

def main():
    command = Path("/proc/self/cmdline").read_bytes().rstrip(b"\\0").decode().split("\\0")
    assert sys.argv[1] == command[-2], command
    assert sys.stdin.buffer.read()
    ready = int(sys.argv[-1].partition("=")[2])
    of = sys.argv[1], os.getpid(), os.getppid(), os.getsid(0), LOADED_BY, *command[1:]
    os.write(ready, (" ".join(map(str, of)) + "\\n").encode())
    if sys.argv[1] == "worker":
        sys.exit(3)
    signal.pause()

if __name__ == "__main__":
    main()
"""

PARENT = """
import asyncio, json, os, sys, threading
from batchseal.processes.child import Child
from batchseal.processes.forked import fork
from batchseal.settings.load import Settings

def load():
    import forked_child
    if sys.argv[1] == "fails":
        raise RuntimeError("this cannot be loaded")
    if sys.argv[1] == "threads":
        threading.Thread(target=threading.Event().wait, daemon=True).start()

def main():
    import forked_child
    forked_child.main()

async def use(forked):
    children = [Child(name, "forked_child", (name,)) for name in ("signer", "worker")]
    for child, one in zip(children, forked):
        child.forked = one
    await asyncio.gather(*(child.spawn() for child in children))
    told = [(await child.start(Settings())).split() for child in children]
    code = await children[1].process.wait()
    signer = children[0]
    signer.process.kill()
    ended = await signer.process.wait()
    again = (await signer.start(Settings())).split()  # this one with exec
    await signer.end(0)
    left = [int(n) for n in open(f"/proc/self/task/{os.getpid()}/children").read().split()]
    print(json.dumps({"told": told, "code": code, "ended": ended, "again": again, "left": left, "me": os.getpid()}))

asyncio.run(use(fork([("forked_child", "signer"), ("forked_child", "worker")], load, main)))
"""

THREAD = """
import threading
from batchseal.processes.forked import fork
go = threading.Event()
thread = threading.Thread(target=go.wait)
thread.start()
print(fork([("module", "signer")], lambda: None, lambda: None))
go.set()
"""


def run(folder: Path, program: str, how: str = "works") -> subprocess.CompletedProcess[str]:
    (folder / "forked_child.py").write_text(MODULE)
    # A command line that is long enough to be replaced, as that of `batchseal serve` is.
    command = [sys.executable, "-c", program, how]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=100, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended


def test_a_forked_child_is_taken_over_and_started_again(tmp_path: Path) -> None:
    seen = json.loads(run(tmp_path, PARENT).stdout)
    for name, told in zip(("signer", "worker"), seen["told"], strict=True):
        process, pid, parent, session, loaded_by, *command = told
        assert process == name
        assert session == pid
        assert int(parent) == seen["me"]
        assert loaded_by not in {pid, parent}  # but by the template
        assert command[:3] == ["-m", "forked_child", name]
    assert seen["told"][0][4] == seen["told"][1][4]
    assert (seen["code"], seen["ended"]) == (3, -9)
    assert seen["again"][1] == seen["again"][4] != seen["told"][0][1]
    assert seen["again"][0] == "signer"
    assert seen["left"] == []  # neither the template nor anybody else


@pytest.mark.parametrize("how", ["fails", "threads"])
def test_children_are_started_with_exec_where_the_template_forks_none(tmp_path: Path, how: str) -> None:
    ended = run(tmp_path, PARENT, how)
    seen = json.loads(ended.stdout)
    for name, (process, pid, parent, _, loaded_by, *_) in zip(("signer", "worker"), seen["told"], strict=True):
        assert process == name
        assert pid == loaded_by
        assert int(parent) == seen["me"]
    assert ("this cannot be loaded" in ended.stderr) == (how == "fails")
    assert seen["left"] == []


def test_a_process_with_threads_forks_none(tmp_path: Path) -> None:
    assert run(tmp_path, THREAD).stdout == "[]\n"
