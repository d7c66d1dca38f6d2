"""Says what of an installation of the original carries over, what changes, and what is missing."""

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum

from batchseal.commands.migration.docker_line import DockerLine, Mount
from batchseal.commands.migration.work_folder import MOST_LISTED, WorkFolder, overlapping
from batchseal.commands.settings_flags import flags_of, split_unknown_dotted
from batchseal.errors import BatchsealError
from batchseal.settings.declaration import VENDOR
from batchseal.settings.load import OPTIONS, Settings, environment_names, load_settings, modern_flag

# The user of the image, and where its work folder and its temp folder are: as in the original's.
IMAGE, USER, WORK, TEMP, PORT = "batchseal", 10001, "/home", "/tmp", "8080"
CONTAINER = "batchseal"
LEAST_MEMORY_BYTES = 512 << 20
STOP_SECONDS = 60
NOT_AVAILABLE = "not available yet"
# The value of a variable with one of these words in its name is not shown.
SECRET_WORDS = ("SECRET", "PASS", "TOKEN", "CREDENTIAL", "ACCESS_KEY")


class Kind(Enum):
    CARRIES_OVER = "carries over"
    CHANGES = "changes"
    MISSING = "missing"


@dataclass(slots=True)
class Report:
    """The lines, and the settings that the original's flags and variables come to here."""

    lines: list[tuple[Kind, str]] = field(default_factory=list)
    settings: Settings | None = None

    def add(self, kind: Kind, text: str) -> None:
        self.lines.append((kind, text))

    @property
    def missing(self) -> int:
        return sum(kind is Kind.MISSING for kind, _ in self.lines)


def check_line(line: DockerLine, report: Report) -> None:
    """The docker line: image, ports, mounts, memory, variables, and the arguments of the program."""
    report.add(Kind.CHANGES, f"the image: {line.image} becomes {IMAGE}")
    for host, container in line.ports:
        if container == PORT:
            named = f"port {host}" if host else "a port of docker's choice"
            report.add(Kind.CARRIES_OVER, f"{named} of the host leads to {PORT}, where this service listens too")
        else:
            report.add(
                Kind.CHANGES,
                f"port {host} leads to {container} in the container: give --port={container}, or publish {PORT}",
            )
    if not line.ports and (line.option("--network") or line.option("--net")) not in ("host",):
        report.add(Kind.MISSING, f"no port is published: add -p 8080:{PORT}")
    _check_mounts(line, report)
    if line.memory_bytes is None:
        report.add(
            Kind.CHANGES,
            "no --memory: the service then takes what the machine has; `batchseal size` says what a load needs",
        )
    elif line.memory_bytes < LEAST_MEMORY_BYTES:
        report.add(
            Kind.MISSING, f"--memory is {line.memory_bytes >> 20} MiB; {LEAST_MEMORY_BYTES >> 20} MiB is the least"
        )
    else:
        report.add(Kind.CARRIES_OVER, f"--memory of {line.memory_bytes >> 20} MiB, from which all sizes follow")
    if line.option("--stop-timeout") is None:
        report.add(Kind.CHANGES, f"docker kills a container 10 s after a stop: --stop-timeout={STOP_SECONDS} is added")
    if line.option("--user") not in (None, str(USER), f"{USER}:{USER}"):
        report.add(Kind.CHANGES, f"--user={line.option('--user')}: the image runs as user {USER}, and needs no other")
    if name := line.option("--name"):
        report.add(
            Kind.CHANGES, f"the container's name: {name} becomes {CONTAINER}, since the original's container is kept"
        )
    for file in line.environment_files:
        report.add(Kind.CHANGES, f"--env-file={file} was not read: check its variables by `batchseal check` with them")
    flags = dict(_flags(line, report))
    variables = dict(_variables(line, report))
    _check_settings(flags, variables, report)


def _check_mounts(line: DockerLine, report: Report) -> None:
    work, temp = line.mount_at(WORK), line.mount_at(TEMP)
    if work is None:
        report.add(Kind.MISSING, f"nothing is mounted at {WORK}: the file of client services is looked for there")
    else:
        report.add(Kind.CARRIES_OVER, f"the work folder, {shown(work)} at {WORK}; it may be mounted read-only")
    if temp is None:
        report.add(Kind.MISSING, f"nothing is mounted at {TEMP}: payloads and database would end with the container")
    elif temp.read_only:
        report.add(Kind.MISSING, f"{shown(temp)} at {TEMP} is read-only: payloads and database are written there")
    else:
        report.add(
            Kind.CHANGES,
            f"the temp folder, {shown(temp)} at {TEMP}: a new volume takes its place; nothing in this one is read",
        )
    for one in line.mounts:
        if one not in (work, temp):
            report.add(Kind.CARRIES_OVER, f"the mount of {shown(one)} at {one.target}, as it is")


def shown(mount: Mount) -> str:
    return f"the folder {mount.source}" if mount.is_folder else f"the volume {mount.source or '(unnamed)'}"


def _flags(line: DockerLine, report: Report) -> Iterator[tuple[str, str]]:
    """The settings that the arguments set, by name. Says of each argument what becomes of it."""
    known = {flag: name for name in OPTIONS for flag in flags_of(name)}
    left, unknown = split_unknown_dotted(line.arguments)
    for flag in unknown:
        report.add(Kind.CHANGES, f"{flag}: not known here, and of no effect")
    waiting = iter(left)
    for argument in waiting:
        flag, equals, value = argument.partition("=")
        name = known.get(flag)
        if name is None:
            report.add(Kind.CHANGES, f"the argument {flag!r}: not one of this service, which would not start with it")
            continue
        if not equals and OPTIONS[name].type is not bool:
            value = next(waiting, "")
        yield name, value or ("true" if OPTIONS[name].type is bool else "")
        _say_setting(flag, name, value, report)


def _say_setting(flag: str, name: str, value: str, report: Report) -> None:
    if name == "force_database_recreate":
        report.add(Kind.CHANGES, f"{flag}: leave it out; it deletes everything at a start, and acts once")
    elif OPTIONS[name].metadata["help"].startswith(NOT_AVAILABLE):
        report.add(Kind.MISSING, f"{flag}: {OPTIONS[name].metadata['help']}")
    elif name in ("database_url", "database_owner_url") and value.startswith("jdbc:"):
        report.add(
            Kind.MISSING,
            f"{flag}: a JDBC address; write it as postgresql://USER:PASSWORD@HOST/NAME, with an empty database of its own",
        )
    else:
        secret = not OPTIONS[name].repr
        report.add(
            Kind.CARRIES_OVER, f"{flag}{'' if secret or not value else '=' + value}, here also {modern_flag(name)}"
        )


def _variables(line: DockerLine, report: Report) -> Iterator[tuple[str, str]]:
    known = {variable: name for name in OPTIONS for variable in environment_names(name)}
    for variable, value in line.environment.items():
        if variable in known:
            yield variable, value
            report.add(Kind.CARRIES_OVER, f"the variable {variable}, here also {modern_flag(known[variable])}")
        else:
            report.add(Kind.CHANGES, f"the variable {variable}: not read here")


def _check_settings(flags: dict[str, str], variables: dict[str, str], report: Report) -> None:
    """Whether the settings go together, and whether those are there that an installation needs."""
    try:
        settings = report.settings = load_settings({name: text for name, text in flags.items() if text}, variables)
    except BatchsealError as problem:
        report.add(Kind.MISSING, f"with these settings the service does not start: {problem.cause}")
        return
    if not settings.upstream_address:
        report.add(Kind.MISSING, f"--{VENDOR}service.domain: without it the built-in sandbox signs, for tests only")
    if not settings.advertised_address:
        report.add(Kind.MISSING, "--server.host.port: without it replies name the address inside the container")


def check_folder(found: WorkFolder, report: Report) -> None:
    """The work folder."""
    if found.problem:
        report.add(Kind.MISSING, found.problem)
    if found.client_services:
        report.add(
            Kind.CARRIES_OVER, f"the client services in {found.path} ({len(found.client_services)}), with their secrets"
        )
    if found.short_secrets:
        some = ", ".join(found.short_secrets[:MOST_LISTED])
        report.add(
            Kind.CHANGES,
            f"secrets that can be guessed, since they are short: {some}; give these client services longer ones",
        )
    for place in found.closed:
        report.add(Kind.MISSING, f"user {USER} cannot read {place}: chmod o+rX {place}, or chown {USER} {place}")
    is_there = not OPTIONS["hot_folder_enabled"].metadata["help"].startswith(NOT_AVAILABLE)
    for name, folders in found.hot_folders.items():
        listed = ", ".join(f"{key} {path}" for key, path in folders.items())
        kind = Kind.CARRIES_OVER if is_there else Kind.MISSING
        report.add(kind, f"hot folders of {name}: {listed}" + ("" if is_there else f" ({NOT_AVAILABLE})"))
    if found.hot_folders:
        report.add(
            Kind.CHANGES,
            f"hot folders: user {USER} must be able to write to them, and the original must not watch them any more",
        )
        if report.settings is not None and not report.settings.hot_folder_enabled:
            report.add(
                Kind.CHANGES, "hot folders are not switched on by the command line: --hot.folder.enabled=true does"
            )
    for pair in overlapping(found.hot_folders):
        report.add(Kind.MISSING, f"hot folders must not lie in each other: {pair}")
    for name, count in found.waiting.items():
        if count:
            report.add(
                Kind.CHANGES, f"{count} files wait in the input folder of {name}: let the original finish them first"
            )
    if found.databases:
        report.add(
            Kind.CHANGES,
            f"the original's database ({', '.join(found.databases[:MOST_LISTED])}) is not read: let it finish what is under way"
            " before the switch, and mark its references by `batchseal migrate references`",
        )
    if found.unread:
        more = f" and {len(found.unread) - MOST_LISTED} more" if len(found.unread) > MOST_LISTED else ""
        report.add(Kind.CHANGES, f"not read here: {', '.join(found.unread[:MOST_LISTED])}{more}")


def new_line(line: DockerLine) -> str:
    """The command line that starts this service in place of the original. Secrets do not appear in it."""
    words = [f"--name={CONTAINER}", *(word for word in line.options if not word.startswith("--name="))]
    if line.option("--stop-timeout") is None:
        words.append(f"--stop-timeout={STOP_SECONDS}")
    if line.memory_bytes is not None:
        words.append(f"--memory={line.memory}")
    for one in line.mounts:
        source = "batchseal-data" if one.target.rstrip("/") == TEMP else one.source
        kind = "bind" if source.startswith("/") else "volume"
        words.append(
            f"--mount=type={kind},source={source},target={one.target}" + (",readonly" if one.read_only else "")
        )
    words += [f"--publish={host}:{container}" if host else f"--publish={container}" for host, container in line.ports]
    # Without a value, docker takes that of the environment in which it is called.
    words += [
        f"--env={name}={value}" if value and not _is_secret(name) else f"--env={name}"
        for name, value in line.environment.items()
    ]
    words += [f"--env-file={file}" for file in line.environment_files]
    arguments, _ = split_unknown_dotted(line.arguments)
    return " \\\n    ".join(["docker run", *map(shlex.quote, [*words, IMAGE, *_carried(arguments)])])


def _carried(arguments: Sequence[str]) -> Iterator[str]:
    """The arguments that stay, each flag with its value in one word."""
    known = {flag: name for name in OPTIONS for flag in flags_of(name)}
    waiting = iter(arguments)
    for argument in waiting:
        flag, equals, value = argument.partition("=")
        if (name := known.get(flag)) is None:
            continue
        if not equals and OPTIONS[name].type is not bool:
            value, equals = next(waiting, ""), "="
        if name != "force_database_recreate":
            yield f"{flag}=(as before)" if not OPTIONS[name].repr else flag + equals + value


def _is_secret(variable: str) -> bool:
    secret = {name for option in OPTIONS if not OPTIONS[option].repr for name in environment_names(option)}
    return variable in secret or any(word in variable.upper() for word in SECRET_WORDS)
