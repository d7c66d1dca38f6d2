"""A forked child is what one that was started with `exec` is: it gets settings, says that it is ready, and its end is noticed.

The code runs in a process of its own, as the one of the tests may have threads.
"""

import json
import subprocess
import sys
from pathlib import Path

MODULE = """
import os, signal, sys
from pathlib import Path

def main():
    command = Path("/proc/self/cmdline").read_bytes().rstrip(b"\\0").decode().split("\\0")
    assert sys.argv[1] == command[-2], command
    assert sys.stdin.buffer.read()
    ready = int(sys.argv[-1].partition("=")[2])
    os.write(ready, f"{sys.argv[1]} {os.getpid()} {os.getsid(0)} {' '.join(command[1:])}\\n".encode())
    if sys.argv[1] == "worker":
        sys.exit(3)
    signal.pause()

if __name__ == "__main__":
    main()
"""

PARENT = """
import asyncio, json, sys
import forked_child
from batchseal.processes.child import Child
from batchseal.processes.forked import fork
from batchseal.settings.load import Settings

async def use(forked):
    children = [Child(name, "forked_child", (name,)) for name in ("signer", "worker")]
    told = []
    for child, one in zip(children, forked):
        child.forked = one
        await child.spawn()
        told.append((await child.start(Settings())).split())
    code = await children[1].process.wait()
    signer = children[0]
    signer.process.kill()
    ended = await signer.process.wait()
    again = (await signer.start(Settings())).split()  # this one with exec
    await signer.end(0)
    print(json.dumps({"told": told, "code": code, "ended": ended, "again": again}))

asyncio.run(use(fork([("forked_child", "signer"), ("forked_child", "worker")], forked_child.main)))
"""

THREAD = """
import threading
from batchseal.processes.forked import fork
go = threading.Event()
thread = threading.Thread(target=go.wait)
thread.start()
print(fork([("module", "signer")], lambda: None))
go.set()
"""


def run(folder: Path, program: str) -> str:
    (folder / "forked_child.py").write_text(MODULE)
    # A command line that is long enough to be replaced, as that of `batchseal serve` is.
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=100, check=False)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_a_forked_child_is_taken_over_and_started_again(tmp_path: Path) -> None:
    seen = json.loads(run(tmp_path, PARENT))
    for name, (process, pid, session, *command) in zip(("signer", "worker"), seen["told"], strict=True):
        assert process == name
        assert session == pid
        assert command[:3] == ["-m", "forked_child", name]
    assert (seen["code"], seen["ended"]) == (3, -9)
    assert seen["again"][1] != seen["told"][0][1]
    assert seen["again"][0] == "signer"


def test_a_process_with_threads_forks_none(tmp_path: Path) -> None:
    assert run(tmp_path, THREAD) == "[]\n"
