"""Messages of the commands on standard error."""

import sys


def complain(text: str) -> None:
    """Writes a warning or an error as a line of its own, with the program's name in front."""
    print(f"batchseal: {text}", file=sys.stderr)
