"""What a container with hot folders needs: 10,000 files of 200 KB, which arrive while it runs, under 320 MB."""

import json
import os
import tempfile
import time
from pathlib import Path

from harness.hot_folders import Folders, files_below, mixed_file, put
from harness.invoices import DOCUMENT_BYTES
from harness.waiting import until
from tests.container import engine
from tests.container.load import CLIENT, SECRET
from tests.container.pod import Sandbox, Service
from tests.container.volume import USER

from batchseal.commands.verify import check_files, load_roots

FILES, LIMIT_MB = 10_000, 320
FLAGS = ("--hot-folder-enabled=true", "--hot-folder-look=1", "--hot-folder-flush=5", "--hot-folder-cron=* * * * * *")
JUDGED = 300  # spread over all
SECONDS = 1200


def observe(sandbox: Sandbox, count: int = FILES) -> tuple[dict[str, float], list[str]]:
    """Numbers by name, and what is wrong."""
    with tempfile.TemporaryDirectory(prefix="batchseal-hot-", dir="/var/tmp") as name, engine.fresh_volume() as volume:
        place = Path(name)
        place.chmod(0o755)
        folders = prepare(place)
        # The folders are at the same path inside and outside.
        mounts = ("--mount", f"type=bind,source={place / 'files'},target={place / 'files'}")
        home = f"{place / 'work'},target=/home"
        with Service(sandbox, f"{LIMIT_MB}m", volume, home=home, options=mounts, flags=FLAGS) as service:
            began = time.monotonic()
            for number in range(count):
                put(folders, *mixed_file(number, DOCUMENT_BYTES))
            until(lambda: sum(1 for _ in files_below(folders.backup)) >= count, SECONDS, 1.0)
            seconds = time.monotonic() - began
            memory = service.watch.stop()
            said = engine.logs(service.name)
            numbers: dict[str, float] = {
                "limit_mb": LIMIT_MB,
                "files": count,
                "seconds": round(seconds, 1),
                "files_per_second": round(count / seconds, 1),
                "alive": int(engine.running(service.name)),
                "restarts": said.count("ended unexpectedly") + said.count("database server ended"),
                **memory,
            }
        results = sorted(files_below(folders.output))
        judged = results[:: max(1, len(results) // JUDGED)]
        (place / "root.pem").write_bytes(sandbox.root)
        verdicts = check_files(judged, load_roots([place / "root.pem"]), 2)
        numbers |= {"results": len(results), "judged": len(judged), "valid": sum(one.valid for one in verdicts)}
        numbers["left_in_input"] = sum(1 for _ in files_below(folders.input))
    wrong = []
    if numbers["results"] != count or numbers["left_in_input"] or numbers["valid"] != numbers["judged"]:
        wrong.append("not every file came back signed")
    if numbers["oom_kills"] or numbers["restarts"] or not numbers["alive"]:
        wrong.append("a process was killed")
    return {f"hot_folder_{name}": number for name, number in numbers.items()}, wrong


def prepare(place: Path) -> Folders:
    """The folders of the container's user, and a work folder of root's that names them."""
    folders = Folders.make(place / "files")
    user, group = map(int, USER.split(":"))
    for folder in (folders.input, folders.backup, folders.output, *(folders.input / str(n) for n in range(10))):
        folder.mkdir(exist_ok=True)
        os.chown(folder, user, group)
    work = place / "work"
    work.mkdir()
    services = work / "client-services-config.json"
    services.write_text(json.dumps({CLIENT: {"secret": SECRET, **folders.entry()}}), "utf-8")
    services.chmod(0o644)
    return folders
