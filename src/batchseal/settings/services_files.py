"""How the two files about client services are read, and what may stand in them.

`client-services-config.json` has an entry for each client service, with its secret. It is the file of the original product, which
may have keys in it that this service has no use for. Keys that only this service knows may stand in the same entries, or in
entries with the same ids in a second file, `batchseal-services.json`, where every key is ours. `docs/` has a JSON schema of both.

A key that is not known is refused wherever it can only be a mistake: a misspelt level must not mean level B. No value of a file
appears in an error.
"""

import json
import os
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batchseal.errors import ConfigurationError
from batchseal.settings.signatures import read_signature, read_visible

FILE_NAME = "client-services-config.json"
OWN_FILE_NAME = "batchseal-services.json"
MAX_FILE_BYTES = 16 << 20
# The keys that only this service knows, and the fields of a ClientService that they become.
OWN_KEYS = {
    "credentialId": "credential_id",
    "pinFile": "pin_file",
    "active": "active",
    "previousSecret": "previous_secret",
    "signature": "signature",
    "visibleSignature": "visible",
    "hotFolder": "hot_asked",
    "webhook": "webhook",
}
# The keys of the original product's file.
FOLDER_KEYS = ("inputFolder", "backupFolder", "outputFolder")
CONFIG_KEYS = ("secret", *FOLDER_KEYS)
# From this likeness on (difflib's ratio, 0 to 1) an unknown key of the original's file is taken for one that was misspelt.
MISSPELT = 0.8

# What one file says of each client service: the values by field of a ClientService.
Entries = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class FileState:
    """By this, a changed file is noticed without reading it."""

    device: int
    inode: int
    size_bytes: int
    modified_ns: int


# Stands for a file in a folder that this account may not enter. Reading the file then says what is wrong.
HIDDEN = FileState(0, 0, 0, 0)


def file_state(path: Path) -> FileState | None:
    """The state of the file, or None if it does not exist."""
    try:
        status = path.stat()
    except PermissionError:
        return HIDDEN
    except OSError:
        return None
    return FileState(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def read_config(path: Path) -> Entries:
    """The entries of `client-services-config.json`. Raises ConfigurationError, which names the client service."""
    table = _read_table(path)
    if not table:
        raise ConfigurationError(f"{path}: is not an object of client services")
    entries = {}
    for name, entry in table.items():
        place = f"{path}: client service {name!r}"
        if not name or not isinstance(entry, dict):
            raise ConfigurationError(f"{place}: is not an object with a secret")
        for key in entry.keys() - {*CONFIG_KEYS, *OWN_KEYS}:
            if meant := _meant(key):
                raise ConfigurationError(f"{place}: the key {key!r} is not known; {meant!r} may be meant")
        secret = _text(entry, "secret", place)
        if secret is None:
            raise ConfigurationError(f"{place}: has no secret")
        entries[name] = {"secret": secret} | _own_values(path, name, entry) | _folders(entry, place)
    return entries


def _folders(entry: Mapping[str, Any], place: str) -> dict[str, Any]:
    """The folders of an entry as they are written. Raises ConfigurationError."""
    for key in FOLDER_KEYS:
        if not isinstance(entry.get(key), str | None) or "\0" in (entry.get(key) or ""):
            raise ConfigurationError(f"{place}: {key} is not the path of a folder")
    return {"folders": tuple(entry.get(key) or "" for key in FOLDER_KEYS)}


def read_own(path: Path, known: Container[str] | None = None) -> Entries:
    """The entries of `batchseal-services.json`. Raises ConfigurationError, also for an id that is not in `known`.

    None stands for any id.
    """
    entries = {}
    for name, entry in _read_table(path).items():
        place = f"{path}: client service {name!r}"
        if not isinstance(entry, dict):
            raise ConfigurationError(f"{place}: is not an object")
        if unknown := sorted(entry.keys() - OWN_KEYS.keys()):
            words = "the secret stands in the other file" if unknown[0] == "secret" else "it has an unknown key"
            raise ConfigurationError(f"{place}: {words}: {unknown[0]!r}; known here are {', '.join(OWN_KEYS)}")
        if known is not None and name not in known:
            raise ConfigurationError(f"{place}: {FILE_NAME} has no client service with this id")
        entries[name] = _own_values(path, name, entry)
    return entries


def in_both(config: Entries, own: Entries) -> str:
    """What both files say of the same client service, in words, or an empty text. Neither of them goes before the other."""
    for name, entry in own.items():
        if twice := entry.keys() & config.get(name, {}).keys():
            keys = ", ".join(key for key, field in OWN_KEYS.items() if field in twice)
            return f"client service {name!r}: {keys} stands in {FILE_NAME} as well"
    return ""


def _own_values(path: Path, name: str, entry: Mapping[str, Any]) -> dict[str, Any]:
    """The values of our keys in an entry, by field of a ClientService. A null is the same as no key."""
    place = f"{path}: client service {name!r}"
    values: dict[str, Any] = {
        OWN_KEYS[key]: _text(entry, key, place) for key in ("credentialId", "pinFile", "previousSecret")
    }
    if pin_file := values["pin_file"]:
        values["pin_file"] = path.parent / pin_file
    values["active"] = active = entry.get("active")
    if active is not None and not isinstance(active, bool):
        raise ConfigurationError(f"{place}: active is neither true nor false")
    if (signature := entry.get("signature")) is not None:
        values["signature"] = read_signature(signature, lambda what: ConfigurationError(f"{place}: {what}"))
    if (visible := entry.get("visibleSignature")) is not None:
        values["visible"] = read_visible(visible, lambda what: ConfigurationError(f"{place}: {what}"))
    if (hot := entry.get("hotFolder")) is not None:
        from batchseal.settings.hot_folders import read_hot_folder  # most files have none

        values["hot_asked"] = read_hot_folder(hot, lambda what: ConfigurationError(f"{place}: {what}"))
    if (webhook := entry.get("webhook")) is not None:
        from batchseal.settings.webhooks import read_webhook  # few client services have one

        values["webhook"] = read_webhook(webhook, lambda what: ConfigurationError(f"{place}: {what}"))
    return {field: value for field, value in values.items() if value is not None}


def _text(entry: Mapping[str, Any], key: str, place: str) -> str | None:
    value = entry.get(key)
    if value is not None and (not isinstance(value, str) or not value):
        raise ConfigurationError(f"{place}: {key} is not a text")
    return value


def _meant(key: str) -> str:
    """The known key that an unknown one is like, or an empty text."""
    import difflib  # imported here, since hardly any file needs it

    plain = {known.lower(): known for known in (*CONFIG_KEYS, *OWN_KEYS)}
    spelt = key.lower().replace("_", "").replace("-", "")
    like = difflib.get_close_matches(spelt, plain, n=1, cutoff=MISSPELT)
    return plain[like[0]] if like else ""


def _read_table(path: Path) -> dict[str, Any]:
    """The JSON object in a file, in which no key may be there twice. Raises ConfigurationError."""
    try:
        data = path.read_bytes()
    except PermissionError as problem:
        raise ConfigurationError(
            f"{path}: {problem.strerror}; let this user (uid {os.getuid()}) read it: chown the file, or chmod o+r the file"
            " and o+x its folder"
        ) from None
    except OSError as problem:
        raise ConfigurationError(f"{path}: {problem.strerror}") from None
    if len(data) > MAX_FILE_BYTES:
        raise ConfigurationError(f"{path}: larger than {MAX_FILE_BYTES} bytes")
    try:
        table = json.loads(data, object_pairs_hook=_unique_keys)
    except (ValueError, RecursionError) as problem:
        where = f"line {problem.lineno}: {problem.msg}" if isinstance(problem, json.JSONDecodeError) else str(problem)
        raise ConfigurationError(f"{path}: {where}") from None
    if not isinstance(table, dict):
        raise ConfigurationError(f"{path}: is not an object of client services")
    return table


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(n for n in names if names.count(n) > 1)!r} is there twice")
    return table
