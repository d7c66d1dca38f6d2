"""What an entry of the client services file says of hot folders: three folders, and the object `hotFolder`.

    "inputFolder": "in", "backupFolder": "backup", "outputFolder": "out",
    "hotFolder": {
        "signatureInfo": {"reason": "...", "signatureLevel": "T", "visibleSignatureInfo": {...}},
        "otherTypes": true,
        "patterns": [{"path": "contracts/**", "signatureInfo": {...}}]
    }

The keys of `signatureInfo` are those of a request. A file is signed as the first pattern says that its path fits, else as the
object itself says. A key that is not known is refused: a misspelt level must not mean level B.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from batchseal.errors import ConfigurationError
from batchseal.settings import cron
from batchseal.settings.options import Settings
from batchseal.settings.signatures import read_visible
from batchseal.signature import Level, SignatureType

FOLDERS = {"inputFolder": "input", "backupFolder": "backup", "outputFolder": "output"}
NAME = "{name}"
MODES = re.compile(r"0?[0-7]{3}")
MOST_PATTERNS = 1_000
INFO_TEXTS = ("reason", "location")
INFO_CHOICES = {
    "signatureType": tuple(kind.label for kind in SignatureType),
    "signatureLevel": tuple(level.name for level in Level),
    "signaturePackaging": ("ATTACHED", "DETACHED"),
}
ADVANCED = {
    "signatureLocation": (),
    "signatureTransform": ("ENVELOPED", "XPATH", "XPATH2_FILTER"),
    "canonicalTransform": ("EXCLUSIVE", "EXCLUSIVE_WITH_COMMENTS"),
}

Wrong = Callable[[str], ConfigurationError]


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of the signatures of some files. `info` has the keys of the wire contract's `signatureInfo`.

    `other_types`: files that are neither PDF nor XML are signed too, with CAdES. `path` is the pattern that the files fit; an
    empty one fits all.
    """

    path: str = ""
    info: Mapping[str, Any] = field(default_factory=dict)
    other_types: bool = True

    def fits(self, relative: str) -> bool:
        """Whether the path of a file below the input folder fits. `*` stays within a folder, `**` does not."""
        return not self.path or re.fullmatch(expression(self.path), relative, re.DOTALL) is not None


@dataclass(frozen=True, slots=True)
class HotFolder:
    """The folders of a client service as they are written, and what is asked of the files in them."""

    input: str = ""
    backup: str = ""
    output: str = ""
    otherwise: Asked = Asked()
    patterns: tuple[Asked, ...] = ()

    @property
    def is_set(self) -> bool:
        """Whether any of the folders is named."""
        return bool(self.input or self.backup or self.output)

    @property
    def missing(self) -> list[str]:
        """The keys of the folders that are not named."""
        return [key for key, name in FOLDERS.items() if not getattr(self, name)]

    def asked_of(self, relative: str) -> Asked:
        """What is asked of the file with this path."""
        return next((one for one in self.patterns if one.fits(relative)), self.otherwise)


def expression(pattern: str) -> str:
    """The regular expression of a pattern."""
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    return "".join(parts.get(part, re.escape(part)) for part in re.split(r"(\*\*/|\*\*|\*|\?)", pattern))


def read_hot_folder(entry: Any, wrong: Wrong) -> tuple[Asked, tuple[Asked, ...]]:
    """What the object `hotFolder` says: of all files, and of those that fit a pattern. Raises ConfigurationError."""
    table = _object(entry, "hotFolder", ("signatureInfo", "otherTypes", "patterns"), wrong)
    patterns = [] if table.get("patterns") is None else table["patterns"]
    if not isinstance(patterns, list) or len(patterns) > MOST_PATTERNS:
        raise wrong(f"hotFolder.patterns is not a list of at most {MOST_PATTERNS} objects")
    otherwise = _asked(table, "hotFolder", "", wrong)
    read = []
    for number, one in enumerate(patterns):
        place = f"hotFolder.patterns[{number}]"
        one = _object(one, place, ("path", "signatureInfo", "otherTypes"), wrong)
        path = one.get("path")
        if not isinstance(path, str) or not path or path.startswith("/") or ".." in PurePosixPath(path).parts:
            raise wrong(f"{place}.path is not a path below the input folder, such as contracts/**")
        read.append(_asked({"otherTypes": otherwise.other_types, **one}, place, path, wrong))
    return otherwise, tuple(read)


def _asked(table: Mapping[str, Any], place: str, path: str, wrong: Wrong) -> Asked:
    other = table.get("otherTypes")
    if not isinstance(other, bool | None):
        raise wrong(f"{place}.otherTypes is neither true nor false")
    return Asked(path, _info(table.get("signatureInfo"), f"{place}.signatureInfo", wrong), other is not False)


def _info(entry: Any, place: str, wrong: Wrong) -> Mapping[str, Any]:
    """Checks the object and returns it without its nulls. `entries/asked.py` checks the rest as it checks a request."""
    known = (*INFO_TEXTS, *INFO_CHOICES, "applyTimestamp", "visibleSignatureInfo", "advancedSignatureInfo")
    entry = {} if entry is None else _object(entry, place, known, wrong)
    table = {key: value for key, value in entry.items() if value is not None}
    for key in INFO_TEXTS:
        if not isinstance(table.get(key, ""), str):
            raise wrong(f"{place}.{key} is not a text")
    for key, allowed in INFO_CHOICES.items():
        if table.get(key, allowed[0]) not in allowed:
            raise wrong(f"{place}.{key} is not one of {', '.join(allowed)}")
    if not isinstance(table.get("applyTimestamp", False), bool):
        raise wrong(f"{place}.applyTimestamp is neither true nor false")
    advanced = _object(table.get("advancedSignatureInfo", {}), f"{place}.advancedSignatureInfo", tuple(ADVANCED), wrong)
    for key, choices in ADVANCED.items():
        value = advanced.get(key)
        if not isinstance(value, str | None) or (choices and value is not None and value not in choices):
            raise wrong(f"{place}.advancedSignatureInfo.{key} is not {' or '.join(choices) or 'a text'}")
    if "visibleSignatureInfo" in table:
        read_visible(table["visibleSignatureInfo"], lambda what: wrong(f"{place}: {what}"))
    return table


def _object(entry: Any, place: str, keys: tuple[str, ...], wrong: Wrong) -> Mapping[str, Any]:
    if not isinstance(entry, dict):
        raise wrong(f"{place} is not an object")
    if unknown := sorted(entry.keys() - set(keys)):
        raise wrong(f"{place} has the unknown key {unknown[0]!r}; known are {', '.join(sorted(keys))}")
    return entry


def check_options(settings: Settings) -> None:
    """Raises ConfigurationError for settings of hot folders that are wrong in themselves. The folders are not looked at."""
    try:
        cron.parse(settings.hot_folder_cron)
    except ConfigurationError as problem:
        raise ConfigurationError(f"--hot-folder-cron: {problem.cause}") from None
    if not 1 <= settings.hot_folder_threshold <= settings.max_documents:
        raise ConfigurationError(
            f"--hot-folder-threshold: {settings.hot_folder_threshold} must be from 1 to --max-documents={settings.max_documents}"
        )
    if not 0.1 <= settings.hot_folder_look <= 3600:
        raise ConfigurationError("--hot-folder-look: must be from 0.1 to 3600 seconds")
    for name in ("hot_folder_flush", "hot_folder_unfinished", "hot_folder_output_days", "hot_folder_backup_days"):
        if getattr(settings, name) < 0:
            raise ConfigurationError(f"--{name.replace('_', '-')}: must be 0 or more")
    if MODES.fullmatch(settings.hot_folder_mode) is None or not int(settings.hot_folder_mode, 8) & 0o400:
        raise ConfigurationError(
            f"--hot-folder-mode: {settings.hot_folder_mode!r} is not octal digits such as 0664, readable for the owner"
        )
    pattern = settings.hot_folder_failure
    if pattern.count(NAME) != 1 or pattern == NAME or "/" in pattern or "\0" in pattern or pattern.startswith("."):
        raise ConfigurationError(
            "--hot-folder-failure: needs {name} once and something beside it, such as {name}.txt, and neither / nor . in front"
        )
