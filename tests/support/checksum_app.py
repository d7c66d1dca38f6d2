"""The service with one format more: `python -m tests.support.checksum_app serve [flags]`.

Its supervisor starts signer and workers from this module too.
"""

import sys

from tests.support.checksum_format import Checksum

from batchseal.app import __main__ as app
from batchseal.commands.settings_flags import read_settings
from batchseal.formats import registry
from batchseal.processes import supervisor

MODULE = "tests.support.checksum_app"


def main() -> None:
    registry.ALL = (*registry.ALL, Checksum())  # the one line that adds a format
    if sys.argv[1:2] == ["serve"]:
        supervisor.run(read_settings("serve", "", sys.argv[2:]), MODULE)
    else:
        app.main()


if __name__ == "__main__":
    main()
