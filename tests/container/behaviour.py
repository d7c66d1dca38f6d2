"""How the container starts, stops, is mounted and is upgraded."""

import os
import shutil
import tempfile
from pathlib import Path
from uuid import uuid4

from tests.container import engine
from tests.container.load import CLIENT, SECRET, CountingClient
from tests.container.pod import SANDBOX_PORT, URL, Sandbox, Service
from tests.container.volume import fetched

from batchseal.client.batch import BatchBody, find_documents

FIRST_SECONDS, WARM_SECONDS = 10.0, 5.0
PROBE_BYTES = 15 << 20
NEWER = "batchseal-test-newer"
MIGRATIONS = "/opt/batchseal/lib/python3.11/site-packages/batchseal/store/migrations/"
NEWEST_MIGRATION = """
import asyncio, asyncpg
async def ask():
    connection = await asyncpg.connect(open("/tmp/batchseal/database.url").read().strip())
    print(await connection.fetchval("SELECT max(number) FROM batchseal.migrations"))
asyncio.run(ask())
"""
MIGRATION = "-- What a release to come might add.\nALTER TABLE operations ADD COLUMN of_the_future text;\n"
# Orphans of a process that entered the container from outside become children of process 1.
ORPHANS = "for i in 1 2 3; do (sleep 0.2 &); done; sleep 1; cat /proc/[0-9]*/stat 2>/dev/null"
PROBE = (
    "import resource, subprocess; code = subprocess.run(['batchseal', 'probe']).returncode;"
    "print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
)


def observe(sandbox: Sandbox, folder: Path, volume: str) -> tuple[dict[str, float], list[str]]:
    """Numbers by name, and what is wrong."""
    numbers, wrong = lifecycle(sandbox, folder, volume)
    wrong += work_folders(sandbox) + foreign_volume(sandbox) + upgrade(sandbox, folder)
    temp_folders(sandbox)
    return numbers, wrong


def lifecycle(sandbox: Sandbox, folder: Path, volume: str) -> tuple[dict[str, float], list[str]]:
    wrong: list[str] = []
    before = listing(sandbox.work)
    with Service(sandbox, "256m", volume) as service:
        first = service.ready_seconds
        kept = sign(folder)
        stop_seconds = service.stop()
    with Service(sandbox, "256m", volume) as service:
        warm = service.ready_seconds
        if not again(kept):
            wrong.append("a new container on the same volume lost an operation")
        told = engine.call("podman", "exec", service.name, "python3", "-c", PROBE).splitlines()[-1]
        code, probe_kb = map(int, told.split())
        states = engine.call("podman", "exec", service.name, "sh", "-c", ORPHANS).splitlines()
    zombies = sum(line.rpartition(")")[2].split()[0] == "Z" for line in states)
    if code or probe_kb << 10 >= PROBE_BYTES:
        wrong.append(f"the health probe ended with {code} and took {probe_kb} KB")
    if zombies:
        wrong.append(f"{zombies} zombies: process 1 does not reap")
    if first > FIRST_SECONDS or warm > WARM_SECONDS:
        wrong.append(f"ready after {first:.1f} s the first time, {warm:.1f} s then")
    if listing(sandbox.work) != before:
        wrong.append("something was written to the work folder")
    return {
        "first_start_seconds": round(first, 2),
        "warm_start_seconds": round(warm, 2),
        "stop_seconds": round(stop_seconds, 2),
        "probe_resident_kb": probe_kb,
        "zombies": zombies,
    }, wrong


def sign(folder: Path) -> BatchBody:
    """An operation that was fetched once."""
    body = BatchBody(find_documents([folder]), f"kept {uuid4()}", "container test")
    CountingClient(URL, CLIENT, SECRET).register(body)
    if not again(body):
        raise SystemExit("a batch was not signed")
    return body


def again(body: BatchBody) -> bool:
    with tempfile.TemporaryDirectory(prefix="batchseal-out-", dir="/var/tmp") as folder:
        return fetched(body, Path(folder, "out"))


def listing(folder: Path) -> list[tuple[str, int, int]]:
    return sorted((str(p), p.stat().st_size, p.stat().st_mtime_ns) for p in folder.rglob("*"))


# --- mounts as hosts make them ---------------------------------------------------------------------------------------


def work_folders(sandbox: Sandbox) -> list[str]:
    """Read-only, without Unix modes as a Windows host mounts it, and closed to the service's user. Root owns them all."""
    wrong: list[str] = []
    with tempfile.TemporaryDirectory(prefix="batchseal-work-", dir="/var/tmp") as name:
        work = Path(name, "work")
        shutil.copytree(sandbox.work, work)
        file = next(work.iterdir())
        for folder_mode, file_mode, options in ((0o755, 0o644, ",readonly"), (0o777, 0o777, "")):
            work.chmod(folder_mode)
            file.chmod(file_mode)
            with (
                engine.fresh_volume() as volume,
                Service(sandbox, "256m", volume, home=f"{work},target=/home{options}"),
            ):
                pass  # it was ready
        for folder_mode, file_mode in ((0o755, 0o600), (0o700, 0o644)):
            work.chmod(folder_mode)
            file.chmod(file_mode)
            with engine.fresh_volume() as volume:
                code, said = refused(sandbox, f"type=volume,source={volume},target=/tmp", str(work))
            if code == 0 or "let this user (uid 10001) read it" not in said or "Traceback" in said:
                wrong.append(f"work folder {folder_mode:o}/{file_mode:o}: ended with {code}: {said[-300:]}")
    return wrong


def temp_folders(sandbox: Sandbox) -> None:
    """Folders that hosts mount at /tmp: without modes, another user's, given to the container by a group. All are used."""
    with tempfile.TemporaryDirectory(prefix="batchseal-temp-", dir="/var/tmp") as name:
        for number, (mode, uid, gid) in enumerate(((0o777, 0, 0), (0o777, 1000, 1000), (0o2775, 0, 10001))):
            temp = Path(name, str(number))
            temp.mkdir()
            os.chown(temp, uid, gid)
            temp.chmod(mode)
            with Service(sandbox, "256m", str(temp)):
                pass  # it was ready


def foreign_volume(sandbox: Sandbox) -> list[str]:
    """A volume that another product made as root is refused with the remedy, and the remedy helps."""
    wrong: list[str] = []
    with engine.fresh_volume() as volume:
        as_root = ("--user", "0", "-v", f"{volume}:/v", "--entrypoint")
        engine.attempt(*as_root, "sh", arguments=("-c", "chown 0:0 /v && chmod 755 /v && touch /v/theirs"))
        code, said = refused(sandbox, f"type=volume,source={volume},target=/tmp", str(sandbox.work))
        if code == 0 or "chown it once" not in said or "Traceback" in said:
            wrong.append(f"a volume of root's: ended with {code}: {said[-300:]}")
        engine.attempt(*as_root, "chown", arguments=("-R", "10001", "/v"))  # as README.md says
        with Service(sandbox, "256m", volume):
            pass
    return wrong


def refused(sandbox: Sandbox, temp: str, work: str) -> tuple[int, str]:
    return engine.attempt(
        *("--network", f"container:{sandbox.name}", "--read-only", "--cap-drop=ALL", "--mount", temp),
        *("--mount", f"type=bind,source={work},target=/home"),
        arguments=(f"--einvoice-integration-client.service.domain=http://127.0.0.1:{SANDBOX_PORT}/",),
    )


# --- another release on the same volume ------------------------------------------------------------------------------


def upgrade(sandbox: Sandbox, folder: Path) -> list[str]:
    """A newer image migrates the database forward; the release before it goes on with that schema, and so does the data."""
    wrong: list[str] = []
    with tempfile.TemporaryDirectory(prefix="batchseal-newer-", dir="/var/tmp") as name:
        migration = Path(name, "9000_of_the_future.sql")
        migration.write_text(MIGRATION, "ascii")
        migration.chmod(0o644)
        container = engine.call("buildah", "from", "--pull-never", engine.IMAGE)
        engine.call("buildah", "copy", "-q", container, migration, MIGRATIONS)
        engine.call("buildah", "commit", "-q", "--rm", "--format", "docker", container, NEWER, seconds=300)
    try:
        with engine.fresh_volume() as volume:
            kept: list[BatchBody] = []
            for step, image in (("before", engine.IMAGE), ("newer", NEWER), ("the one before again", engine.IMAGE)):
                with Service(sandbox, "256m", volume, image=image) as service:
                    kept.append(sign(folder))
                    lost = sum(not again(body) for body in kept)
                    newest = engine.call("podman", "exec", service.name, "python3", "-c", NEWEST_MIGRATION)
                if lost:
                    wrong.append(f"{step}: {lost} operations lost")
                if (newest == "9000") != (step != "before"):
                    wrong.append(f"{step}: the newest migration is {newest}")
    finally:
        engine.call("podman", "rmi", "-f", NEWER, check=False)
    return wrong
