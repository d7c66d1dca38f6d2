"""The client services of `client-services-config.json`: who may call the service, and with which secret.

The file is read again when it has changed. If it has become unreadable, what was read before stays in force, and the log says so.
No secret appears in a repr, in the log or in an error.
"""

import hmac
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from batchseal.document import NO_DEFAULTS, Level, SignatureDefaults
from batchseal.errors import ConfigurationError
from batchseal.settings.signatures import read_signature
from batchseal.system.disk import create_once

log = structlog.get_logger("services")

FILE_NAME = "client-services-config.json"
SANDBOX_SERVICE = "sandbox-client"
MAX_FILE_BYTES = 16 << 20
# A shorter secret can be guessed in time, even where few guesses a minute are allowed.
SAFE_SECRET_CHARACTERS = 16
NAMED_IN_WARNING = 20  # client services that one line of the log names


@dataclass(frozen=True, slots=True)
class ClientService:
    """One client service.

    `pin_file` is the file with the PIN of its credential, if the credential has a PIN. `signature` is what its documents get
    where its requests say nothing else.
    """

    id: str
    secret: str = field(repr=False)
    credential_id: str | None = None
    pin_file: Path | None = None
    active: bool = True
    previous_secret: str | None = field(default=None, repr=False)
    signature: SignatureDefaults = NO_DEFAULTS

    @property
    def secrets(self) -> tuple[str, ...]:
        """The secrets that are accepted, the new one first. There are two while a secret is being replaced."""
        return (self.secret, self.previous_secret) if self.previous_secret else (self.secret,)

    def accepts(self, secret: str) -> bool:
        """Whether `secret` is one of the secrets of this client service. The comparison takes constant time."""
        known = [hmac.compare_digest(own.encode(), secret.encode()) for own in self.secrets]
        return any(known)


@dataclass(frozen=True, slots=True)
class FileState:
    """By this, a changed file is noticed without reading it."""

    device: int
    inode: int
    size_bytes: int
    modified_ns: int


class ClientServices:
    """The client services of one file. `present` is False if the file does not exist and never did: then nobody is configured.

    With `sandbox_only` no file is accepted that an operator has written (see `read_services`). With `remarks`, the log says what
    is unsafe about the file; one process of a service says it for all.
    """

    def __init__(self, path: Path, *, sandbox_only: bool = False, remarks: bool = True) -> None:
        self.path = path
        self._sandbox_only = sandbox_only
        self._remarks = remarks
        self.problem: str | None = None  # why the present file cannot be used
        self._services: dict[str, ClientService] = {}
        self._state: FileState | None = None

    @classmethod
    def load(cls, path: Path, *, sandbox_only: bool = False, remarks: bool = True) -> "ClientServices":
        """Reads the file. It may be missing. Raises ConfigurationError if it cannot be used."""
        services = cls(path, sandbox_only=sandbox_only, remarks=remarks)
        services.reload_if_changed()
        if services.problem:
            raise ConfigurationError(services.problem)
        return services

    @property
    def present(self) -> bool:
        """Whether any client service is configured."""
        return bool(self._services)

    def get(self, client_service: str) -> ClientService | None:
        """The client service with this id, or None."""
        return self._services.get(client_service)

    @property
    def has_one(self) -> bool:
        """Whether there is only one client service that may call, so that nothing has to be kept for others."""
        return sum(service.active for service in self._services.values()) == 1

    def ids(self) -> list[str]:
        """The ids of all client services."""
        return list(self._services)

    def __iter__(self) -> Iterator[ClientService]:
        return iter(list(self._services.values()))

    def reload_if_changed(self) -> bool:
        """Reads the file again if it has changed, else costs one `stat`.

        Returns whether other client services are in force now.
        """
        state = file_state(self.path)
        if state == self._state:
            return False
        self._state = state
        if state is None:
            # If the file was deleted from a running service, the callers are not locked out.
            self.problem = (
                f"{self.path} is gone; the client services that were read before stay in force"
                if self._services
                else None
            )
        else:
            try:
                fresh = read_services(self.path, sandbox_only=self._sandbox_only)
            except ConfigurationError as problem:
                self.problem = problem.cause
            else:
                changed, self._services, self.problem = fresh != self._services, fresh, None
                if self._remarks:
                    warn_of_loose_mode(self.path)
                    warn_of_short_secrets(fresh.values())
                return changed
        if self.problem:
            log.warning("the file of client services cannot be read again", cause=self.problem)
        return False


def unreachable_levels(
    signature_level: str, services: Iterable[ClientService], *, has_time_stamps: bool, has_materials: bool = False
) -> list[str]:
    """For each level that the configuration asks for and no signature can have, why its documents will be refused.

    `signature_level` is that of `--signature-level`; `has_time_stamps`: a time stamp authority is configured;
    `has_materials`: validation material can be had.
    """
    asked = {"--signature-level": Level[signature_level]}
    asked |= {f"client service {one.id}": one.signature.level for one in services if one.active}
    problems = []
    for who, level in asked.items():
        if level > Level.B and not has_time_stamps:
            problems.append(f"{who} asks for level {level.name}, but time stamps are not set up (--timestamp-urls)")
        elif level > Level.T and not has_materials:
            problems.append(f"{who} asks for level {level.name}, but validation material is not set up here")
    return problems


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


def warn_of_loose_mode(path: Path) -> None:
    """Logs a warning if other accounts can read the file."""
    mode = path.stat().st_mode & 0o777
    if mode & 0o077:
        log.warning("other accounts can read the secrets; mode 600 would be safer", file=str(path), mode=f"{mode:o}")


def warn_of_short_secrets(services: Iterable[ClientService]) -> None:
    """Logs one warning that names the client services whose secrets are short. It never shows a secret or its length."""
    names = [one.id for one in services if any(len(secret) < SAFE_SECRET_CHARACTERS for secret in one.secrets)]
    if names:
        log.warning(
            f"secrets of fewer than {SAFE_SECRET_CHARACTERS} characters can be guessed; give these client services longer ones",
            client_services=names[:NAMED_IN_WARNING],
            number=len(names),
        )


def read_services(path: Path, *, sandbox_only: bool = False) -> dict[str, ClientService]:
    """Reads and checks the whole file. Raises ConfigurationError, which names the client service but never a value.

    With `sandbox_only` the sandbox signs because no signing service is set, and not because somebody has asked for it. Then a
    file that an operator has written is refused: one setting that was lost or misspelt would have real documents signed by a key
    that nobody trusts, without an error.
    """
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
    services = {name: _read_service(path, name, entry) for name, entry in table.items()}
    if sandbox_only and not made_by_sandbox(services):
        raise ConfigurationError(
            f"{path} names client services, but no signing service is set: set --service-domain or --upstream-url, or give "
            "--sandbox to have the built-in sandbox sign for them, which is for tests only"
        )
    return services


def made_by_sandbox(services: Mapping[str, ClientService]) -> bool:
    """Whether the only client service is the one that `make_sandbox_services` makes up.

    If it has been given a credential, which only another signing service needs, it is an operator's.
    """
    own = services.get(SANDBOX_SERVICE)
    return len(services) == 1 and own is not None and own.credential_id is None and own.pin_file is None


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(n for n in names if names.count(n) > 1)!r} is there twice")
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
    signature = read_signature(entry.get("signature"), wrong)
    return ClientService(
        name, texts["secret"], texts["credentialId"], pin_file, active, texts["previousSecret"], signature
    )


def make_sandbox_services(work_folder: Path, fallback_folder: Path) -> Path:
    """The file with client services for the sandbox: the one that exists, else a new one with a random secret and mode 0600.

    A new file goes into `work_folder` if that folder does not exist yet, else into `fallback_folder`: a work folder that exists,
    as it always does in a container, belongs to somebody else and is only read. Raises ConfigurationError if no file can be
    written.
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
    """Writes a complete file, or none. If two processes try at the same time, both use the file of the first one."""
    text = json.dumps({SANDBOX_SERVICE: {"secret": secrets.token_urlsafe(32)}}, indent=2) + "\n"
    create_once(path, text.encode("ascii"))
    return path
