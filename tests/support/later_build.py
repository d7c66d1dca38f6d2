"""A later build of this source tree: with a further migration, a further field in a record, and a record in a new encoding.

It stands for the release after this one. What it adds is what releases add, and it keeps to the same rules: the migration only
adds, the field has a default, and what this build cannot read is written only once no instance of it is left
(`store/versions.py`).
"""

import shutil
from pathlib import Path

import batchseal

VERSION = "99.0.0"
FIELD = "written by the later build"
# No message of MessagePack begins with this byte, so this build cannot read such a record.
ENCODING = b"\xc1later"

MIGRATION = """
ALTER TABLE operations ADD COLUMN later_note text NOT NULL DEFAULT 'a note of the later build';
CREATE TABLE later_things (operation_id bigint PRIMARY KEY, thing text NOT NULL);
"""
# It imports all that it uses, so that it does not depend on what the module around it happens to import.
GATED = """
            from dataclasses import replace

            from batchseal.store.versions import Versions

            if await Versions(self._store.database, look_seconds=0).all_have({version!r}):
                new = replace(new, payload_record={encoding!r} + new.payload_record)
"""


def make_later_build(folder: Path) -> dict[str, str]:
    """Makes it in `folder`, and returns the environment in which its programs are run."""
    package = folder / "batchseal"
    shutil.copytree(
        Path(batchseal.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__", "*.c", "*.pyx", "*.pxd")
    )
    edit(package / "__init__.py", f'__version__ = "{batchseal.__version__}"', f'__version__ = "{VERSION}"')
    (package / "store" / "migrations" / "0999_later.sql").write_text(MIGRATION)
    edit(package / "payloads" / "interface.py", "    length: int = 0\n", '    length: int = 0\n    later: str = ""\n')
    records = package / "payloads" / "operation.py"
    edit(records, "return _encode(record)", f"return _encode(msgspec.structs.replace(record, later={FIELD!r}))")
    edit(records, "_decode(columns.payload_record)", f"_decode(columns.payload_record.removeprefix({ENCODING!r}))")
    registering = "            row = await self._store.register(new, received.documents)\n"
    gated = GATED.format(version=VERSION, encoding=ENCODING).lstrip("\n")
    edit(package / "worker" / "acceptance.py", registering, gated + registering)
    return {"PYTHONPATH": str(folder)}


def edit(path: Path, old: str, new: str) -> None:
    """Replaces a text that must be in the file once."""
    text = path.read_text("utf-8")
    assert text.count(old) == 1, f"{path}: {old!r} is there {text.count(old)} times"
    path.write_text(text.replace(old, new))
