"""Adds the Debian packages of the image to the software bill of materials (CycloneDX) of its Python packages.

    sbom.py PYTHON.json DEBIAN.txt OUT.json

DEBIAN.txt has one line for each package, with its name, version, architecture and source package, separated by tabs.
"""

import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote


def component(line: str) -> dict[str, Any]:
    """The CycloneDX component for one line of DEBIAN.txt."""
    name, version, architecture, source = line.split("\t")
    address = f"pkg:deb/debian/{quote(name)}@{quote(version, safe='')}?arch={architecture}&distro=debian-12"
    return {
        "type": "library",
        "bom-ref": address,
        "name": name,
        "version": version,
        "purl": address,
        "properties": [{"name": "debian:source", "value": source}],
    }


def main() -> None:
    python, debian, out = (Path(argument) for argument in sys.argv[1:4])
    document = json.loads(python.read_text("utf-8"))
    document["components"] += [component(line) for line in debian.read_text("utf-8").splitlines()]
    out.write_text(json.dumps(document, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
