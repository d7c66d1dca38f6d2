"""What the commands say on standard error."""

import sys


def complain(text: str) -> None:
    print(f"batchseal: {text}", file=sys.stderr)
