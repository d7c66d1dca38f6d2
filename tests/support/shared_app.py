"""The service over a folder that several instances share: `python -m tests.support.shared_app serve [flags]`.

The folder is the one that BATCHSEAL_TEST_SHARED names. Its supervisor starts signer and workers from this module too.
"""

import os
import sys
from pathlib import Path

from batchseal import app
from batchseal.commands.settings_flags import read_settings
from batchseal.payloads.by_size import PayloadsBySize
from batchseal.payloads.interface import Payloads
from batchseal.processes import supervisor
from batchseal.settings.load import Settings

MODULE = "tests.support.shared_app"
FOLDER = "BATCHSEAL_TEST_SHARED"


class SharedFolder(PayloadsBySize):
    """The store of one folder, which serves several instances as long as they run on one machine, whose locks they share."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.name = f"shared:{folder}"


def shared_store(settings: Settings) -> Payloads:
    folder = Path(os.environ[FOLDER])
    folder.mkdir(exist_ok=True)
    return SharedFolder(folder)


def main() -> None:
    app.payload_store = shared_store  # type: ignore[attr-defined]  # the one line that exchanges the payload store
    if sys.argv[1:2] == ["serve"]:
        supervisor.run(read_settings("serve", "", sys.argv[2:]), MODULE)
    else:
        app.main()


if __name__ == "__main__":
    main()
