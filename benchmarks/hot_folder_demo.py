"""`make demo-hot-folder`: a hot folder in the terminal. Files are put into it, and the table shows where each of them is.

Starts a service with the sandbox, brings PDF, XML and other files, some of them broken or brought slowly, and checks every
result by code that is not ours. The three folders are left in `demo-out/hot-folder`.
"""

import argparse
import shutil
import sys
import threading
import time
from pathlib import Path

from harness.held_folder import held_folder
from harness.hot_folders import FAST_FLAGS, Folders, configure, put
from harness.invoices import invoice
from harness.service import RunningService
from harness.xml_invoices import xml_invoice
from rich.console import Console
from rich.live import Live
from rich.table import Table

from batchseal.commands import verify

SECONDS = 60
HOT = {
    "signatureInfo": {"reason": "Invoice issued", "location": "Lisboa"},
    "patterns": [{"path": "contracts/**", "signatureInfo": {"signatureLevel": "T"}}],
}
# What is brought, and what its result is called.
BROUGHT = {
    "fatura 1.pdf": (invoice(1), "fatura 1.pdf"),
    "fatura 2.pdf": (invoice(2), "fatura 2.pdf"),
    "2026/11/nota.xml": (xml_invoice(1), "2026/11/nota.xml"),
    "contracts/contrato.pdf": (invoice(3), "contracts/contrato.pdf"),
    "letter.txt": (b"Dear Sir or Madam\n", "letter.txt.p7m"),
    "broken.pdf": (b"%PDF-1.4\nnothing\nstartxref\n1\n%%EOF\n", "broken.pdf.txt"),
    "half.pdf": (invoice(4)[:90_000], "half.pdf.txt"),
}
SLOW = "slow copy.pdf"


def bring(folders: Folders) -> None:
    """One file after the other, and one that takes three seconds."""
    for name, (content, _) in BROUGHT.items():
        put(folders, name, content)
        time.sleep(0.2)
    whole = invoice(5)
    with (folders.input / SLOW).open("wb") as file:
        for part in range(6):
            file.write(whole[part * len(whole) // 6 : (part + 1) * len(whole) // 6])
            file.flush()
            time.sleep(0.5)


def table(folders: Folders) -> tuple[Table, bool]:
    """Where each file is now, and whether all have ended."""
    shown = Table(title=f"{folders.input.parent}", title_justify="left")
    for title in ("file", "where", "result"):
        shown.add_column(title, overflow="fold")
    ended = True
    for name, result in {**{name: one[1] for name, one in BROUGHT.items()}, SLOW: SLOW}.items():
        backup, output = folders.backup / name, folders.output / result
        if backup.exists() and output.exists():
            where, what = "backup", result
            if result.endswith(".pdf.txt"):
                what += ": " + next(line for line in output.read_text().splitlines() if line.startswith("Cause"))
        else:
            ended, what = False, ""
            where = "input" if (folders.input / name).exists() else "under way" if name in BROUGHT else "not here yet"
        shown.add_row(name, where, what)
    return shown, ended


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("demo-out/hot-folder"))
    out = parser.parse_args().out.absolute()
    shutil.rmtree(out, ignore_errors=True)
    folders, console = Folders.make(out), Console(highlight=False)
    with held_folder("hot-demo") as place:
        configure(place / "work", folders, HOT)
        console.print("Starting the service ...")
        with RunningService("--sandbox-credential=p256", *FAST_FLAGS, folder=place) as service:
            bringing = threading.Thread(target=bring, args=(folders,), daemon=True)
            bringing.start()
            ends = time.monotonic() + SECONDS
            with Live(table(folders)[0], console=console) as live:
                while True:
                    shown, ended = table(folders)
                    live.update(shown)
                    if ended or time.monotonic() > ends:
                        break
                    time.sleep(0.2)
            bringing.join()
            shutil.copy(service.root, out / "root.pem")
    valid = verify.run([f"--root={out / 'root.pem'}", str(folders.output)])
    return 0 if ended and valid == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
