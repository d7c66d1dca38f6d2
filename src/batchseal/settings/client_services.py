"""The client services of `client-services-config.json`: who may call, and with which secret.

Owns reading, checking and re-reading the file. A file that has become unreadable keeps what was read before and says so.
Secrets appear in no repr, log line or error.
"""

import hmac
import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from batchseal.errors import ConfigurationError
from batchseal.system.disk import create_once

log = structlog.get_logger("services")

FILE_NAME = "client-services-config.json"
SANDBOX_SERVICE = "sandbox-client"
MAX_FILE_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class ClientService:
    """One caller. `pin_file` holds the PIN of its credential, where that has one."""

    id: str
    secret: str = field(repr=False)
    credential_id: str | None = None
    pin_file: Path | None = None
    active: bool = True
    previous_secret: str | None = field(default=None, repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """Two while they are being rotated, the new one first."""
        return (self.secret, self.previous_secret) if self.previous_secret else (self.secret,)

    def accepts(self, secret: str) -> bool:
        """Whether `secret` is one of this service's, in constant time."""
        known = [hmac.compare_digest(own.encode(), secret.encode()) for own in self.secrets]
        return any(known)


@dataclass(frozen=True, slots=True)
class FileState:
    """What tells one version of a file from another without reading it."""

    device: int
    inode: int
    size_bytes: int
    modified_ns: int


class ClientServices:
    """The services of one file. `present` is False while there is no such file: then nobody is configured."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problem: str | None = None  # why the file as it is now is not in use
        self._services: dict[str, ClientService] = {}
        self._state: FileState | None = None

    @classmethod
    def load(cls, path: Path) -> "ClientServices":
        """Reads `path`; a missing file is allowed. Raises ConfigurationError for one that cannot be used."""
        services = cls(path)
        services.reload_if_changed()
        if services.problem:
            raise ConfigurationError(services.problem)
        return services

    @property
    def present(self) -> bool:
        return bool(self._services)

    def get(self, client_service: str) -> ClientService | None:
        return self._services.get(client_service)

    def ids(self) -> list[str]:
        return list(self._services)

    def __iter__(self) -> Iterator[ClientService]:
        return iter(list(self._services.values()))

    def reload_if_changed(self) -> bool:
        """Reads the file again where it has changed (one `stat` where not). True when other services are in force now."""
        state = file_state(self.path)
        if state == self._state:
            return False
        self._state = state
        if state is None:
            # Deleting the file does not lock everybody out of a running service.
            self.problem = f"{self.path} is gone; the services read before stay in force" if self._services else None
        else:
            try:
                fresh = read_services(self.path)
            except ConfigurationError as problem:
                self.problem = problem.cause
            else:
                changed, self._services, self.problem = fresh != self._services, fresh, None
                warn_of_loose_mode(self.path)
                return changed
        if self.problem:
            log.warning("client services not read again", cause=self.problem)
        return False


# A file in a folder that this user may not enter: reading it says why.
HIDDEN = FileState(0, 0, 0, 0)


def file_state(path: Path) -> FileState | None:
    """None where there is no such file."""
    try:
        status = path.stat()
    except PermissionError:
        return HIDDEN
    except OSError:
        return None
    return FileState(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


def warn_of_loose_mode(path: Path) -> None:
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        log.warning("other accounts can read the secrets; mode 600 would be safer", file=str(path), mode=f"{mode:o}")


def read_services(path: Path) -> dict[str, ClientService]:
    """Checks the whole file. Raises ConfigurationError naming the service, never a value."""
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
    if not isinstance(table, dict) or not table:
        raise ConfigurationError(f"{path}: is not an object of client services")
    return {name: _read_service(path, name, entry) for name, entry in table.items()}


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(n for n in names if names.count(n) > 1)!r} stands there twice")
    return table


def _read_service(path: Path, name: str, entry: Any) -> ClientService:
    def wrong(what: str) -> ConfigurationError:
        return ConfigurationError(f"{path}: client service {name!r}: {what}")

    if not name or not isinstance(entry, dict):
        raise wrong("is not an object with a secret")
    texts: dict[str, str | None] = {}
    for key in ("secret", "previousSecret", "credentialId", "pinFile"):
        texts[key] = value = entry.get(key)
        if value is not None and (not isinstance(value, str) or not value):
            raise wrong(f"{key} is not a text")
    active = entry.get("active", True)
    if not isinstance(active, bool):
        raise wrong("active is neither true nor false")
    if texts["secret"] is None:
        raise wrong("has no secret")
    pin_file = path.parent / texts["pinFile"] if texts["pinFile"] else None
    return ClientService(name, texts["secret"], texts["credentialId"], pin_file, active, texts["previousSecret"])


def make_sandbox_services(work_folder: Path, fallback_folder: Path) -> Path:
    """The services file to use with the sandbox: the one that is there, else a new one with a fresh random secret, mode 0600.

    It goes to `work_folder` where that is still to be made, else to `fallback_folder`: a work folder that is there already,
    as a container's always is, belongs to somebody and is only read. Raises ConfigurationError if neither can be written.
    """
    problem: OSError | None = None
    for folder in (work_folder, fallback_folder):
        if file_state(folder / FILE_NAME):
            return folder / FILE_NAME
    for folder in (fallback_folder,) if work_folder.is_dir() else (work_folder, fallback_folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return _write_new_services(folder / FILE_NAME)
        except OSError as error:
            problem = error
    raise ConfigurationError(f"no {FILE_NAME}, and none can be written: {problem}")


def _write_new_services(path: Path) -> Path:
    """Publishes a complete file or none; of two processes that try at once, the first one's file is used by both."""
    text = json.dumps({SANDBOX_SERVICE: {"secret": secrets.token_urlsafe(32)}}, indent=2) + "\n"
    create_once(path, text.encode("ascii"))
    return path
