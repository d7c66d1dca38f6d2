"""Messages of the commands on standard error, and what they ask."""

import sys


def complain(text: str) -> None:
    """Writes a warning or an error as a line of its own, with the program's name in front."""
    print(f"batchseal: {text}", file=sys.stderr)


def remark(text: str) -> None:
    """Says something on standard error, so that it does not get into what is written to standard output."""
    print(text, file=sys.stderr)


def confirmed(question: str) -> bool:
    """Asks the person at the terminal. Whoever ends the input without an answer (Ctrl-D) has said no."""
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        print()
        return False
