"""The client services: who may call the service, with which secret, and what is said of their signatures.

`services_files.py` reads them from two files. Both are read again when they have changed. If one has become unreadable, what it
said before stays in force, and the log says so. No secret appears in a repr, in the log or in an error.
"""

import hmac
import json
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from batchseal.errors import ConfigurationError
from batchseal.settings.options import Settings
from batchseal.settings.services_files import (
    FILE_NAME,
    OWN_FILE_NAME,
    Entries,
    FileState,
    file_state,
    in_both,
    read_config,
    read_own,
)
from batchseal.signature import NO_DEFAULTS, Level, SignatureDefaults, VisibleTexts
from batchseal.system.disk import create_once
from batchseal.system.telemetry.events import Category, security_event

if TYPE_CHECKING:
    from batchseal.settings.hot_folders import Asked, HotFolder
    from batchseal.settings.webhooks import Webhook

log = structlog.get_logger("services")

SANDBOX_SERVICE = "sandbox-client"
# A shorter secret can be guessed in time, even where few guesses a minute are allowed.
SAFE_SECRET_CHARACTERS = 16
NAMED_IN_WARNING = 20  # client services that one line of the log names


@dataclass(frozen=True, slots=True)
class ClientService:
    """One client service.

    `pin_file` is the file with the PIN of its credential, if the credential has a PIN. `signature` is what its documents get
    where its requests say nothing else. `visible` is its template for visible signatures. `folders` are its input, backup and
    output folder as they are written; `hot_asked` is what is asked of the files in them. `webhook` is where it is told of what
    happens.
    """

    id: str
    secret: str = field(repr=False)
    credential_id: str | None = None
    pin_file: Path | None = None
    active: bool = True
    previous_secret: str | None = field(default=None, repr=False)
    signature: SignatureDefaults = NO_DEFAULTS
    visible: VisibleTexts | None = None
    folders: tuple[str, str, str] = ("", "", "")
    hot_asked: "tuple[Asked, tuple[Asked, ...]] | None" = None
    webhook: "Webhook | None" = None

    @property
    def hot_folder(self) -> "HotFolder | None":
        """Its hot folder, or None if it names none of the folders."""
        if not any(self.folders):
            return None
        from batchseal.settings.hot_folders import Asked, HotFolder  # for those who look into it alone

        otherwise, patterns = self.hot_asked or (Asked(), ())
        return HotFolder(*self.folders[:3], otherwise=otherwise, patterns=patterns)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The secrets that are accepted, the new one first. There are two while a secret is being replaced."""
        return (self.secret, self.previous_secret) if self.previous_secret else (self.secret,)

    def accepts(self, secret: str) -> bool:
        """Whether `secret` is one of the secrets of this client service. The comparison takes constant time."""
        known = [hmac.compare_digest(own.encode(), secret.encode()) for own in self.secrets]
        return any(known)


class ClientServices:
    """The client services of the two files. Without a first file nobody is configured.

    `path` is the file with the secrets, `own_path` the one with keys of ours, by default beside the first. Either may be missing.
    With `sandbox_only` no file is accepted that an operator has written (see `refuse_operators_file`). With `remarks`, the log
    says what is unsafe about the files; one process of a service says it for all.

    Each file keeps what it said before while it cannot be used. So a mistake in one of them never holds up what the other one
    takes away, such as a secret.
    """

    def __init__(
        self, path: Path, own_path: Path | None = None, *, sandbox_only: bool = False, remarks: bool = True
    ) -> None:
        self.path = path
        self.own_path = own_path or path.with_name(OWN_FILE_NAME)
        self._sandbox_only = sandbox_only
        self._remarks = remarks
        self.problem: str | None = None  # why the present files cannot be used
        self.has_one = False  # only one client service may call, so nothing has to be kept for others
        self._services: dict[str, ClientService] = {}
        self._config: Entries = {}
        self._own: Entries = {}
        self._states: tuple[FileState | None, FileState | None] = (None, None)

    @classmethod
    def load(
        cls,
        path: Path,
        own_path: Path | None = None,
        *,
        sandbox_only: bool = False,
        remarks: bool = True,
        strict: bool = False,
    ) -> "ClientServices":
        """Reads the files, which may be missing. Raises ConfigurationError if they cannot be used.

        With `strict`, an entry of the second file must have one in the first. Without it, such an entry only causes a warning: a
        process that is started again must not fail because a client service was removed from the first file alone.
        """
        services = cls(path, own_path, sandbox_only=sandbox_only, remarks=remarks)
        services._read(forgive=not strict)
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

    def ids(self) -> list[str]:
        """The ids of all client services."""
        return list(self._services)

    def __iter__(self) -> Iterator[ClientService]:
        return iter(list(self._services.values()))

    def reload_if_changed(self) -> bool:
        """Reads the files again if one of them has changed, else costs two `stat`.

        Returns whether other client services are in force now.
        """
        if self._states == (file_state(self.path), file_state(self.own_path)):
            return False
        before = self._services
        self._read()
        if self.problem:
            log.warning("the file of client services cannot be read again", cause=self.problem)
        changes = changes_between(before, self._services)
        if changes and self._remarks:
            named = dict(list(changes.items())[:NAMED_IN_WARNING])
            what = "the client services have changed"
            security_event(what, Category.CONFIGURATION, "reload", client_services=named, number=len(changes))
        return bool(changes)

    def _read(self, *, forgive: bool = False) -> None:
        """Reads both files. What one of them said before stays in force where it cannot be used now, and `problem` says why."""
        self._states = states = (file_state(self.path), file_state(self.own_path))
        config, own, problems = self._config, self._own, []
        try:
            config = self._read_config(present=states[0] is not None)
        except ConfigurationError as problem:
            problems.append(problem.cause)
        try:
            own = self._read_own(config, present=states[1] is not None, forgive=forgive)
        except ConfigurationError as problem:
            problems.append(problem.cause)
        if twice := in_both(config, own):
            problems.append(f"{self.own_path}: {twice}")
            own = self._own
        self._config, self._own, self.problem = config, own, "; ".join(problems) or None
        self._services = join(config, own)
        self.has_one = sum(service.active for service in self._services.values()) == 1
        if self._remarks and not problems:
            self._make_remarks()

    def _read_config(self, *, present: bool) -> Entries:
        if not present:
            # If the file was deleted from a running service, the callers are not locked out.
            if self._config:
                raise ConfigurationError(
                    f"{self.path} is gone; the client services that were read before stay in force"
                )
            return {}
        config = read_config(self.path)
        if self._sandbox_only:
            refuse_operators_file(self.path, join(config, {}))
        return config

    def _read_own(self, config: Entries, *, present: bool, forgive: bool) -> Entries:
        if not present:
            if self._own:  # signatures must not lose their level because a file was deleted
                raise ConfigurationError(f"{self.own_path} is gone; what was read of it before stays in force")
            return {}
        # An id that only this file has may be misspelt. It is not where the first file has lost it, which must not be held up.
        own = read_own(self.own_path, None if forgive else {**config, **self._own})
        if self._sandbox_only and config:
            refuse_operators_file(self.own_path, join(config, own))
        return own

    def _make_remarks(self) -> None:
        secret = any("previous_secret" in entry or "webhook" in entry for entry in self._own.values())
        for path, has_secrets in ((self.path, bool(self._config)), (self.own_path, secret)):
            if has_secrets:
                warn_of_loose_mode(path)
        warn_of_short_secrets(self._services.values())
        if extra := [name for name in self._own if name not in self._services]:
            log.warning(
                f"{OWN_FILE_NAME} has client services that {self.path.name} does not have",
                client_services=extra[:NAMED_IN_WARNING],
                number=len(extra),
            )


def client_services(settings: Settings, *, remarks: bool = True, strict: bool = False) -> ClientServices:
    """The client services of the files that `settings` name, as ClientServices.load reads them. Raises ConfigurationError.

    With `strict`, which a start is, a file that --client-services-file names must be there too.
    """
    file = settings.services_file
    present = file_state(file) is not None
    if strict and settings.client_services_file and not present:
        raise ConfigurationError(f"--client-services-file: {file} does not exist")
    return ClientServices.load(
        file,
        settings.own_services_file,
        sandbox_only=settings.sandbox_is_unasked,
        remarks=remarks,
        # If the sandbox has still to make the first file, there is nothing to compare the second one with.
        strict=strict and (present or not settings.uses_sandbox),
    )


def changes_between(before: Mapping[str, ClientService], after: Mapping[str, ClientService]) -> dict[str, str]:
    """What has changed, by client service: "added", "removed", or which of its settings. No value is named."""
    changes = dict.fromkeys(after.keys() - before.keys(), "added")
    changes |= dict.fromkeys(before.keys() - after.keys(), "removed")
    for name in before.keys() & after.keys():
        one, other = before[name], after[name]
        if one != other:
            changes[name] = ", ".join(
                f.name for f in fields(ClientService) if getattr(one, f.name) != getattr(other, f.name)
            )
    return dict(sorted(changes.items()))


def join(config: Entries, own: Entries) -> dict[str, ClientService]:
    """The client services of the first file, with what the second one says of them.

    No key stands in both, unless it was added to the first file while the service runs. Then the second file counts, which had it
    before, and the first file's other changes take effect.
    """
    return {name: ClientService(name, **{**entry, **own.get(name, {})}) for name, entry in config.items()}


def unreachable_levels(signature_level: str, services: Iterable[ClientService], *, has_time_stamps: bool) -> list[str]:
    """For each level that the configuration asks for and no signature can have, and for evidence records, why documents will be
    refused.

    `signature_level` is that of `--signature-level`; `has_time_stamps`: a time stamp authority is configured.
    """
    asked = {"--signature-level": Level[signature_level]}
    services = list(services)
    asked |= {f"client service {one.id}": one.signature.level for one in services if one.active}
    problems = []
    for who, level in asked.items():
        if level > Level.B and not has_time_stamps:
            problems.append(f"{who} asks for level {level.name}, but time stamps are not set up (--timestamp-urls)")
    for one in services:
        if one.active and one.signature.evidence_record and not has_time_stamps:
            what = "evidence records, but time stamps are not set up (--timestamp-urls)"
            problems.append(f"client service {one.id} asks for {what}")
    return problems


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


def refuse_operators_file(path: Path, services: Mapping[str, ClientService]) -> None:
    """Refuses client services that an operator has named in a file. Raises ConfigurationError.

    This is for a sandbox that signs because no signing service is set, and not because somebody has asked for it: one setting
    that was lost or misspelt would have real documents signed by a key that nobody trusts, without an error.
    """
    if not made_by_sandbox(services):
        raise ConfigurationError(
            f"{path} names client services, but no signing service is set: set --service-domain or --upstream-url, or give "
            "--sandbox to have the built-in sandbox sign for them, which is for tests only"
        )


def made_by_sandbox(services: Mapping[str, ClientService]) -> bool:
    """Whether the only client service is the one that `make_sandbox_services` makes up.

    If it has been given a credential, which only another signing service needs, or folders, it is an operator's.
    """
    own = services.get(SANDBOX_SERVICE)
    if len(services) != 1 or own is None:
        return False
    return own.credential_id is None and own.pin_file is None and not any(own.folders)


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
