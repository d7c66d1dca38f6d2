"""Finds the folders of the client services and checks them: resolved, apart from each other, writable.

The same checks are made at the start, at each reload and by `batchseal check`. Each fault is a sentence that names the client
service and the folder, and says what mends it. Nothing is left behind. Folders that do not answer hold up nobody else.
"""

import errno
import os
import secrets
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from batchseal.entries.answers import Answers
from batchseal.entries.buckets.names import PrefixName, is_prefix
from batchseal.entries.claims import PRIVATE
from batchseal.errors import ConfigurationError
from batchseal.settings.client_services import ClientService, ClientServices
from batchseal.settings.hot_folders import FOLDERS, HotFolder
from batchseal.settings.load import Settings

if TYPE_CHECKING:
    from batchseal.entries.buckets.checking import Tried

TRIAL = ".batchseal-trial-"
# A store that is slow is not away. Unlike a mount, it has time-outs of its own.
PREFIX_SECONDS = 30.0
# Whatever is there in these folders is not for signing, and nothing is to be put beside it.
Identity = tuple[int, int]  # device and inode


@dataclass(frozen=True, slots=True)
class Place:
    """The hot folder of a client service: its folders without links, or its prefixes of buckets."""

    client_service: str
    hot: HotFolder
    input: Path | PrefixName
    backup: Path | PrefixName
    output: Path | PrefixName

    def folders(self) -> Mapping[str, Path]:
        """By the keys of the configuration. None where it has prefixes."""
        named = {key: getattr(self, name) for key, name in FOLDERS.items()}
        return {key: one for key, one in named.items() if isinstance(one, Path)}

    def prefixes(self) -> Mapping[str, PrefixName]:
        """By the keys of the configuration. None where it has folders."""
        named = {key: getattr(self, name) for key, name in FOLDERS.items()}
        return {key: one for key, one in named.items() if isinstance(one, PrefixName)}


@dataclass(frozen=True, slots=True)
class Checked:
    """What can be used, and what is wrong with the rest, by client service.

    `away`: why some cannot be used now, which may pass by itself. Prefixes that are away are among `places`, and folders that do
    not answer are not. `remarks`: what ought to be known.
    """

    places: tuple[Place, ...]
    faults: Mapping[str, list[str]]
    away: Mapping[str, list[str]] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def require(self, *, reached: bool = False) -> None:
        """Raises ConfigurationError with all faults, if there are any. `reached`: a store that is away is one of them."""
        wrong = [self.faults, self.away] if reached else [self.faults]
        if any(wrong):
            said = [f"client service {name}: {one}" for found in wrong for name, some in found.items() for one in some]
            raise ConfigurationError("hot folders: " + "; ".join(said))


# What each folder is, and every folder above it, the innermost first.
Chains = dict[Path, list[Identity]]


@dataclass(slots=True)
class Found:
    """The place of one client service, if it can be used, and what is to be said of it."""

    place: Place | None = None
    faults: list[str] = field(default_factory=list)
    away: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    chains: Chains = field(default_factory=dict)


def check(settings: Settings, services: ClientServices, answers: Answers[Found] | None = None) -> Checked:
    """Checks all folders and prefixes that are named. Blocking. `answers` knows which of them did not answer the last time."""
    wanted = {one.id: (one, one.hot_folder) for one in services if one.hot_folder is not None and one.active}
    works = {name: (hot, partial(look_for, settings, service, hot)) for name, (service, hot) in wanted.items()}
    answers = answers or Answers[Found]()
    found = answers.ask({name: work for name, work in works.items() if not has_prefixes(wanted[name][1])})
    found |= answers.ask({name: work for name, work in works.items() if has_prefixes(wanted[name][1])}, PREFIX_SECONDS)
    faults = {name: one.faults for name, one in found.items() if one.faults}
    away = {name: one.away for name, one in found.items() if one.away}
    away |= {name: [silent(hot)] for name, (_, hot) in wanted.items() if name not in found}
    remarks = dict.fromkeys(remark for one in found.values() for remark in one.remarks)
    places = [one.place for one in found.values() if one.place is not None]
    chains = {path: chain for one in found.values() for path, chain in one.chains.items()}
    for name, fault in overlaps(places, chains, own_places(settings)):
        faults.setdefault(name, []).append(fault)
    if prefixes := [(place.client_service, *one) for place in places for one in place.prefixes().items()]:
        from batchseal.entries.buckets import checking

        for name, fault in checking.overlaps(prefixes):
            faults.setdefault(name, []).append(fault)
    good = tuple(place for place in places if place.client_service not in faults)
    return Checked(good, faults, away, tuple(remarks))


def silent(hot: HotFolder) -> str:
    return " or ".join(f"{key} {getattr(hot, name)}" for key, name in FOLDERS.items()) + " does not answer"


def has_prefixes(hot: HotFolder) -> bool:
    return any(is_prefix(getattr(hot, name)) for name in FOLDERS.values())


def look_for(settings: Settings, service: ClientService, hot: HotFolder) -> Found:
    """Checks the folders or prefixes of one client service. Blocking, for as long as a mount hangs."""
    if has_prefixes(hot):
        place, tried = find_in_buckets(settings, service, hot)
        return Found(place, tried.faults, tried.away, tried.remarks)
    place, wrong = find(settings, service, hot)
    chains = {path: list(_chain(path)) for path in place.folders().values()} if place is not None else {}
    return Found(place, wrong, chains=chains)


def find_in_buckets(settings: Settings, service: ClientService, hot: HotFolder) -> "tuple[Place | None, Tried]":
    """The prefixes of a client service, None if one of them cannot be used; and what is to be said of them."""
    from batchseal.entries.buckets.checking import Tried, find_prefixes

    written = {key: getattr(hot, name) for key, name in FOLDERS.items()}
    if hot.missing:
        return None, Tried([f"{', '.join(hot.missing)} is missing; a hot folder needs {', '.join(FOLDERS)}"])
    if folders := [key for key, text in written.items() if not is_prefix(text)]:
        return None, Tried([f"{', '.join(folders)} is a folder; either all three lie in buckets, or none of them"])
    found, tried = find_prefixes(settings, written)
    if len(found) < len(FOLDERS):
        return None, tried
    return Place(service.id, hot, **{name: found[key] for key, name in FOLDERS.items()}), tried


def find(settings: Settings, service: ClientService, hot: HotFolder) -> tuple[Place | None, list[str]]:
    """The folders of a client service, None if one of them does not exist; and what is wrong with each of them."""
    if hot.missing:
        return None, [f"{', '.join(hot.missing)} is missing; a hot folder needs {', '.join(FOLDERS)}"]
    found, wrong = dict[str, Path](), list[str]()
    for key, name in FOLDERS.items():
        written = settings.work_folder / getattr(hot, name)
        try:
            found[name] = written.resolve(strict=True)
        except FileNotFoundError:
            owner = f"chown {os.geteuid()}:{os.getegid()} {written}"
            wrong.append(f"{key} {written} does not exist; mount it, or: mkdir -p {written} && {owner}")
        except (OSError, RuntimeError) as problem:
            wrong.append(f"{key} {written}: {getattr(problem, 'strerror', None) or problem}")
        else:
            if fault := unusable(found[name]):
                wrong.append(f"{key} {fault}")
    if len(found) < len(FOLDERS):
        return None, wrong
    return Place(service.id, hot, **found), wrong


def unusable(folder: Path) -> str:
    """Why files cannot be made in a folder, with what mends it; empty if they can. Makes a file and removes it."""
    name = f"{TRIAL}{secrets.token_hex(6)}"
    try:
        if not stat.S_ISDIR(folder.stat().st_mode):
            return f"{folder} is no folder"
        os.listdir(folder)
        descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.close(descriptor)
        os.unlink(folder / name)
    except PermissionError:
        uid, gid = os.geteuid(), os.getegid()
        return f"{folder} cannot be read and written by this user (uid {uid}): chown {uid}:{gid} {folder}"
    except OSError as problem:
        with suppress(OSError):
            os.unlink(folder / name)
        if problem.errno == errno.EROFS:
            return f"{folder} is mounted read-only, and a hot folder is written to: mount it as a writable volume"
        return f"{folder}: {problem.strerror}"
    private = folder / PRIVATE
    if private.is_symlink() or (private.exists() and not private.is_dir()):
        return f"{private} is where the service keeps its own files, and it is no folder: rm {private}"
    if private.exists() and not os.access(private, os.R_OK | os.W_OK | os.X_OK, effective_ids=True):
        return f"{private} belongs to another user: chown -R {os.geteuid()}:{os.getegid()} {private}"
    return ""


def own_places(settings: Settings) -> Mapping[str, Path]:
    """What no hot folder may hold or lie in, by what it is."""
    named = {
        "the temp folder": settings.temp_folder,
        "the folder of the audit trail": settings.audit_path,
        "the file of client services": settings.services_file,
        "the file of client services with our keys": settings.own_services_file,
    }
    if settings.payload_store.startswith("shared:"):
        named["the payload store"] = Path(settings.payload_store.removeprefix("shared:").partition("?")[0])
    return {what: path.resolve() for what, path in named.items()}


def overlaps(places: Iterable[Place], chains: Chains, own: Mapping[str, Path]) -> Iterator[tuple[str, str]]:
    """Folders that are the same or lie in each other, and in what is the service's own: the client service and the fault.

    They are compared by what they are and not by their names, since one folder may be mounted twice.
    """
    every = [(place.client_service, key, path) for place in places for key, path in place.folders().items()]
    for number, (service, key, path) in enumerate(every):
        for other_service, other_key, other in every[:number]:
            if chains[path][0] in chains[other] or chains[other][0] in chains[path]:
                whose = "" if other_service == service else f" of client service {other_service}"
                yield service, f"{key} {path} and {other_key} {other}{whose} overlap; give each a folder of its own"
        for what, mine in own.items():
            chain = list(_chain(mine))
            inside_own = chain and mine.is_dir() and chain[0] in chains[path]
            if chains[path][0] in chain or inside_own:
                yield service, f"{key} {path} overlaps with {what}, {mine}; choose another folder"


def _chain(path: Path) -> Iterator[Identity]:
    """What a path is, and every folder above it, the innermost first. What does not exist is left out."""
    for one in (path, *path.parents):
        with suppress(OSError):
            status = one.stat()
            yield status.st_dev, status.st_ino
