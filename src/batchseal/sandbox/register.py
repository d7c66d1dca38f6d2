"""Which certificates the sandbox has issued, and which of them are revoked: two text files in its folder.

`issued.txt` is written by the sandbox: a line for each certificate, with its serial number in hex (as `openssl x509 -serial`
prints it), its issuer and its name. Certificates that were replaced stay in it, since signatures that were made with them are
still looked at.

`revoked.txt` is written by whoever wants to see a revocation, also while the sandbox runs. A line names either one certificate
by its serial number, or all certificates of a name. The reason (RFC 5280 5.3.1) and the time may follow; without a time it is
that of the file's last change. A certificate whose line is removed is good again. A `#` begins a comment.

    p256-0123456789abcdef
    4A7F00C2  keyCompromise  2026-11-29T10:00:00Z

Leaves the answers to `status`, and locking to `authority`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from batchseal.errors import ConfigurationError
from batchseal.system.disk import NewFile, write_synced_together

# A CRL entry cannot say the last one, and says the first one by saying nothing (RFC 5280 5.3.1).
UNSAID, NEVER_SAID = x509.ReasonFlags.unspecified, x509.ReasonFlags.remove_from_crl


@dataclass(frozen=True, slots=True)
class Entry:
    """An issued certificate. `issuer` and `name` are the names of files in the folder, without their suffix."""

    serial: int
    issuer: str
    name: str


@dataclass(frozen=True, slots=True)
class Revocation:
    at: datetime
    reason: x509.ReasonFlags | None


class Register:
    """The two files in `folder`. May be used by several threads; whoever adds must hold the folder's lock."""

    def __init__(self, folder: Path) -> None:
        self._issued_path, self._revoked_path = folder / "issued.txt", folder / "revoked.txt"
        self._entries: dict[int, Entry] = {}

    def load(self) -> bool:
        """Reads `issued.txt`. Returns False if there is none. Raises ConfigurationError if it cannot be read."""
        try:
            entries = [read_entry(line) for line in self._issued_path.read_text("utf-8").splitlines()]
            self._entries = {entry.serial: entry for entry in entries}
        except FileNotFoundError:
            return False
        except (OSError, ValueError) as problem:
            advice = "remove it, and the certificates in the folder are listed again"
            raise ConfigurationError(f"{self._issued_path}: {problem}; {advice}") from None
        return True

    def add(self, entries: Iterable[Entry], files: Sequence[NewFile] = ()) -> None:
        """Adds certificates to `issued.txt`, and then writes the `files` that belong to them.

        The list is read again first, since another process may have added some too.
        """
        self.load()
        known = self._entries | {entry.serial: entry for entry in entries}
        lines = (f"{entry.serial:X} {entry.issuer} {entry.name}\n" for entry in known.values())
        write_synced_together([NewFile(self._issued_path, "".join(lines).encode(), 0o644), *files])
        self._entries = known

    def has(self, issuer: str, serial: int) -> bool:
        """Whether this issuer has issued a certificate with this serial number. Raises ConfigurationError, as `load`."""
        if serial not in self._entries:
            self.load()  # another process may have issued it from the same folder
        entry = self._entries.get(serial)
        return entry is not None and entry.issuer == issuer

    def revoked(self, issuer: str, now: datetime) -> dict[int, Revocation]:
        """The certificates of an issuer that are revoked at `now`, by serial number.

        The file is read each time, so that a change counts for the next answer. Raises ConfigurationError, which names the line.
        """
        found: dict[int, Revocation] = {}
        try:
            lines = self._revoked_path.read_text("utf-8").splitlines()
            changed_at = datetime.fromtimestamp(int(self._revoked_path.stat().st_mtime), UTC)
        except FileNotFoundError:
            return found
        except (OSError, ValueError) as problem:
            raise ConfigurationError(f"{self._revoked_path}: {problem}") from None
        for number, line in enumerate(lines, 1):
            words = line.partition("#")[0].split()
            if not words:
                continue
            try:
                entries, revocation = self._entries_named(words[0]), read_revocation(words[1:], changed_at)
            except ValueError as problem:
                raise ConfigurationError(f"{self._revoked_path}: line {number}: {problem}") from None
            if revocation.at <= now:
                found |= {entry.serial: revocation for entry in entries if entry.issuer == issuer}
        return found

    def _entries_named(self, word: str) -> list[Entry]:
        """Raises ValueError if there is none, so that a misspelt line is not taken for "nothing is revoked"."""
        serial = word.upper().lstrip("0")
        found = [entry for entry in self._entries.values() if word == entry.name or serial == f"{entry.serial:X}"]
        if not found:
            raise ValueError(
                f"{word!r} is neither the serial number in hex nor the name of a certificate in {self._issued_path.name}"
            )
        return found


def read_entry(line: str) -> Entry:
    """Raises ValueError."""
    words = line.split()
    if len(words) != 3:
        raise ValueError(f"{line!r} is not a serial number, an issuer and a name")
    return Entry(int(words[0], 16), words[1], words[2])


def read_revocation(words: list[str], changed_at: datetime) -> Revocation:
    """The reason and the time in the rest of a line of `revoked.txt`, both of which may be missing. Raises ValueError."""
    if len(words) > 2:
        raise ValueError(f"{words[2]!r} is too much: a line has a serial number or name, a reason and a time")
    reason = None
    if words:
        known = [flag.value for flag in x509.ReasonFlags if flag is not NEVER_SAID]
        if words[0] not in known:
            raise ValueError(f"{words[0]!r} is not one of the reasons {', '.join(known)}")
        reason = x509.ReasonFlags(words[0])
    at = datetime.fromisoformat(words[1]) if len(words) > 1 else changed_at
    if at.tzinfo is None:
        raise ValueError(f"the time {words[1]!r} has no time zone, such as the Z of 2026-11-29T10:00:00Z")
    return Revocation(at.astimezone(UTC).replace(microsecond=0), None if reason is UNSAID else reason)
