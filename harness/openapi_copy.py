"""`make openapi`: writes `openapi.json`, the committed copy of the OpenAPI document, unless a change would break clients.

The copy shows each change of the document in the change that causes it. A breaking one is written only if it is meant
(`make openapi BREAKING=1`).
"""

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from batchseal.api.contract import load_contract
from batchseal.api.openapi import openapi_document
from harness.openapi_changes import changes

COPY = Path(__file__).parents[1] / "openapi.json"


def current() -> bytes:
    """The document as the sources make it, for the contract and the address that are the defaults."""
    return openapi_document(load_contract()) + b"\n"


def digest(document: dict[str, Any]) -> str:
    """SHA-256 of the document without its version, which changes with every release and concerns no generator."""
    info = {key: value for key, value in document["info"].items() if key != "version"}
    text = json.dumps(document | {"info": info}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def write(copy: Path = COPY, *, breaking: bool = False) -> str:
    """Writes the copy, and returns what to tell the caller. Raises SystemExit if a change breaks clients and is not meant."""
    new = current()
    if not copy.exists():
        copy.write_bytes(new)
        return f"{copy.name}: written for the first time"
    found = changes(json.loads(copy.read_bytes()), json.loads(new))
    lines = [str(change) for change in found]
    if any(change.breaking for change in found) and not breaking:
        raise SystemExit(
            "\n".join([*lines, f"{copy.name} is not written: clients break. If that is meant: make openapi BREAKING=1"])
        )
    copy.write_bytes(new)
    return "\n".join([*lines, f"{copy.name}: written"])


def main(arguments: Sequence[str] = ()) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--breaking", action="store_true", help="write it although clients break")
    print(write(breaking=parser.parse_args(arguments).breaking))


if __name__ == "__main__":
    main(sys.argv[1:])
