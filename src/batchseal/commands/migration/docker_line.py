"""Reads the command line that starts the original's container: `docker run ...`, also with podman and over several lines."""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from batchseal.errors import ConfigurationError

PROGRAMS = ("docker", "podman", "nerdctl", "sudo")
# Options of `docker run` that stand alone. Every other one has a value, behind `=` or as the next word.
ALONE = frozenset(
    {
        *(
            "-d",
            "--detach",
            "-i",
            "--interactive",
            "-t",
            "--tty",
            "--rm",
            "--init",
            "--privileged",
            "--read-only",
            "-P",
        ),
        *(
            "--publish-all",
            "--no-healthcheck",
            "--oom-kill-disable",
            "--disable-content-trust",
            "-it",
            "-ti",
            "-dit",
            "-itd",
        ),
        "--quiet",
    }
)
SHORT = {"-v": "--volume", "-p": "--publish", "-e": "--env", "-m": "--memory", "-u": "--user", "-h": "--hostname"}
SHORT |= {"-w": "--workdir", "-l": "--label", "-c": "--cpu-shares"}
UNITS = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder or volume of the host (`source`, empty for an unnamed one) at `target` in the container."""

    source: str
    target: str
    read_only: bool = False

    @property
    def is_folder(self) -> bool:
        return self.source.startswith(("/", ".", "~", "$"))


@dataclass(slots=True)
class DockerLine:
    """What a command line says. `options` are those of docker that this product has no opinion on, as they stood there."""

    image: str = ""
    arguments: list[str] = field(default_factory=list)  # for the program in the container
    mounts: list[Mount] = field(default_factory=list)
    ports: list[tuple[str, str]] = field(default_factory=list)  # on the host, in the container
    environment: dict[str, str] = field(default_factory=dict)
    environment_files: list[str] = field(default_factory=list)
    memory: str = ""  # as it stood there
    memory_bytes: int | None = None
    options: list[str] = field(default_factory=list)

    def mount_at(self, target: str) -> Mount | None:
        return next((one for one in self.mounts if one.target.rstrip("/") == target), None)

    def option(self, name: str) -> str | None:
        """The value of one of `options`, or None."""
        return next((one.partition("=")[2] for one in self.options if one.partition("=")[0] == name), None)


def read_docker_line(text: str) -> DockerLine:
    """Raises ConfigurationError where the text is no such command line."""
    try:
        words = shlex.split(text.replace("\\\r\n", " ").replace("\\\n", " ").strip(), comments=True)
    except ValueError as problem:
        raise ConfigurationError(f"the docker line cannot be read: {problem}") from None
    words = [word for word in words if word not in ("\r", "\n")]
    while words and words[0].rpartition("/")[2] in PROGRAMS:
        words.pop(0)
    if words[:1] == ["container"]:
        words.pop(0)
    if words[:1] not in (["run"], ["create"]):
        raise ConfigurationError("the docker line is not one of `docker run`")
    line = DockerLine()
    rest = list(_options(words[1:], line))
    if not rest:
        raise ConfigurationError("the docker line names no image")
    line.image, line.arguments = rest[0], rest[1:]
    return line


def _options(words: Sequence[str], line: DockerLine) -> Iterator[str]:
    """Takes the options into `line`, and yields what follows them: the image and its arguments."""
    waiting = iter(words)
    for word in waiting:
        if word == "--":
            break
        if not word.startswith("-"):
            yield word
            break
        name, equals, value = word.partition("=")
        if name in ALONE:
            line.options.append(word)
            continue
        if not name.startswith("--") and len(name) > 2 and not equals:  # -p8081:8080
            name, value, equals = name[:2], name[2:], "="
        if not equals:
            value = next(waiting, "")
        _take(SHORT.get(name, name), value, line)
    yield from waiting


def _take(name: str, value: str, line: DockerLine) -> None:
    if name == "--volume":
        line.mounts.append(_volume(value))
    elif name in ("--mount", "--tmpfs"):
        line.mounts.append(_mount(value) if name == "--mount" else Mount("", value.partition(":")[0]))
    elif name == "--publish":
        host, _, container = value.rpartition(":")
        line.ports.append((host, container.partition("/")[0]))
    elif name == "--env":
        variable, _, text = value.partition("=")
        line.environment[variable] = text
    elif name == "--env-file":
        line.environment_files.append(value)
    elif name == "--memory":
        line.memory, line.memory_bytes = value, _bytes(value)
    else:
        line.options.append(f"{name}={value}")


def _volume(value: str) -> Mount:
    parts = value.split(":")
    if len(parts) == 1:
        return Mount("", parts[0])
    return Mount(parts[0], parts[1], "ro" in parts[2].split(",") if len(parts) > 2 else False)


def _mount(value: str) -> Mount:
    facts = dict(part.partition("=")[::2] for part in value.split(","))
    source = facts.get("source") or facts.get("src") or ""
    target = facts.get("target") or facts.get("dst") or facts.get("destination") or ""
    read_only = facts.get("readonly", facts.get("ro", "false")) in ("", "true", "1")
    return Mount(source, target, read_only)


def _bytes(value: str) -> int:
    match = re.fullmatch(r"(\d+)([bkmgt]?)b?", value.strip().lower())
    if match is None:
        raise ConfigurationError(f"the docker line: --memory={value} is not a size")
    return int(match[1]) * UNITS[match[2]]
