"""The time stamps over the head of the chain: how they stand in an export, and how they are verified."""

import base64
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from asn1crypto import cms, tsp

from batchseal.errors import TimestampFailed
from batchseal.store.trail import HeadStamp
from batchseal.upstream.answers import refusing
from batchseal.upstream.timestamps import check_signer
from batchseal.upstream.trust import Roots

KEY = "timeStamp"
# Gives the roots that a token must lead to. They are read with the first token.
FindRoots = Callable[[], Roots]


def time_of(token: bytes) -> datetime:
    """The time in a token (DER)."""
    moment: datetime = info_of(token)[1]["gen_time"].native
    return moment


def info_of(token: bytes) -> tuple[Any, Any]:
    """The SignedData and the TSTInfo of a token. Raises TimestampFailed if it is malformed."""
    with refusing(TimestampFailed, "the token is malformed"):
        signed = cms.ContentInfo.load(token, strict=True)["content"]
        info = signed["encap_content_info"]["content"].parsed
        if not isinstance(info, tsp.TSTInfo):
            raise TimestampFailed("the token holds no TSTInfo")
        return signed, info


def check_token(stamp: HeadStamp, roots: Roots) -> None:
    """Raises TimestampFailed unless the token is about the link of the stamp, was given at its time, and leads to a root."""
    signed, info = info_of(stamp.token)
    with refusing(TimestampFailed, "the token is malformed"):
        imprint = info["message_imprint"]
        digest = imprint["hashed_message"].native
        if imprint["hash_algorithm"]["algorithm"].native != "sha256" or digest != stamp.link:
            raise TimestampFailed("the token is about something else")
        moment = info["gen_time"].native
        if abs((moment - stamp.at).total_seconds()) >= 1:
            raise TimestampFailed(f"the token was given at {moment.isoformat()}, and not at the time that is noted")
        check_signer(signed, bytes(signed["encap_content_info"]["content"]), moment, roots)


def stamp_fields(stamp: HeadStamp) -> dict[str, Any]:
    """The line of an export that holds a time stamp."""
    return {
        KEY: {
            "position": stamp.position,
            "link": stamp.link.hex(),
            "at": stamp.at.astimezone(UTC).isoformat(),
            "token": base64.b64encode(stamp.token).decode(),
        }
    }


def stamp_in(fields: Any) -> HeadStamp | None:
    """The time stamp in a line of an export, None if the line holds something else. Raises ValueError if it cannot be read."""
    if not isinstance(fields, dict) or KEY not in fields:
        return None
    try:
        given = fields[KEY]
        token = base64.b64decode(given["token"], validate=True)
        at = datetime.fromisoformat(given["at"])
        return HeadStamp(int(given["position"]), bytes.fromhex(given["link"]), at, token)
    except (KeyError, TypeError, AttributeError, ValueError) as problem:
        raise ValueError(f"not a time stamp: {problem}") from None


class StampChecks:
    """Checks time stamps against the entries of a chain as these are read. `problems` says what is wrong."""

    def __init__(self, find_roots: FindRoots | None = None) -> None:
        """`find_roots` raises ConfigurationError. Without it, tokens are only compared with the entries that they are about."""
        self._find_roots = find_roots
        self._roots: Roots | None = None
        self._open: dict[int, HeadStamp] = {}
        self._last: datetime | None = None
        self.checked = 0
        self.first_at: datetime | None = None
        self.last_at: datetime | None = None
        self.problems: list[str] = []

    def expect(self, stamp: HeadStamp) -> None:
        """An entry of this position must come, with the link that was stamped."""
        self._open[stamp.position] = stamp

    def entry(self, position: int, link: bytes) -> None:
        """An entry was read."""
        if (stamp := self._open.pop(position, None)) is not None:
            self.judge(stamp, link)

    def judge(self, stamp: HeadStamp, link: bytes | None) -> None:
        """Judges one time stamp. `link` is that of its entry, None where the entry is not there any more."""
        name = f"the time stamp over entry {stamp.position}"
        if link is not None and link != stamp.link:
            self.problems.append(f"{name} is about another entry: the chain up to there was changed after {stamp.at}")
            return
        try:
            if self._find_roots is not None:
                self._roots = self._roots or self._find_roots()
                check_token(stamp, self._roots)
        except TimestampFailed as problem:
            self.problems.append(f"{name} is not right: {problem.cause}")
            return
        if self._last is not None and stamp.at < self._last:
            self.problems.append(f"{name} is older than the one before it")
        self._last = stamp.at
        self.checked += 1
        self.first_at = self.first_at or stamp.at
        self.last_at = stamp.at

    def end(self) -> None:
        """All entries were read: those that are still expected are missing."""
        for position in sorted(self._open):
            at = self._open[position].at
            self.problems.append(f"entry {position} is missing, over which there is a time stamp of {at}")
