"""What the audit trail keeps of signing in, and that a flood of failures does not fill it."""

from dataclasses import dataclass, field

from batchseal.operator.signing_in.trail import MOST_AT_ONCE, SECONDS_FOR_ONE, SignInTrail
from batchseal.store.operator import Who


@dataclass
class Notes:
    """Keeps entries in place of the database."""

    kept: list[tuple[str, str, str]] = field(default_factory=list)

    async def note(self, who: Who, detail: str) -> None:
        self.kept.append((who.name, who.origin, detail))


@dataclass
class Clock:
    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


def trail_of(notes: Notes, clock: Clock) -> SignInTrail:
    return SignInTrail(notes, clock)  # type: ignore[arg-type]


async def test_who_and_from_where_is_kept_and_a_name_that_nobody_has_is_not() -> None:
    notes = Notes()
    trail = trail_of(notes, Clock())
    await trail.signed_in("maria", "operator", "account", "192.0.2.7")
    await trail.failed("maria", "192.0.2.8", "the password or the code was wrong")
    await trail.failed(None, "192.0.2.8", "no account has the name that was given")
    await trail.signed_out("maria", "192.0.2.7")
    assert notes.kept == [
        ("maria", "192.0.2.7", "signed in (account, role operator)"),
        ("maria", "192.0.2.8", "failed to sign in: the password or the code was wrong"),
        ("unknown", "192.0.2.8", "failed to sign in: no account has the name that was given"),
        ("maria", "192.0.2.7", "signed out"),
    ]


async def test_a_flood_is_noted_up_to_a_bound_and_then_counted() -> None:
    notes, clock = Notes(), Clock()
    trail = trail_of(notes, clock)
    for number in range(MOST_AT_ONCE + 70):
        await trail.failed(None, f"2001:db8:{number:x}::1", "wrong")
    assert len(notes.kept) == MOST_AT_ONCE
    clock.now += SECONDS_FOR_ONE
    await trail.failed("maria", "192.0.2.8", "wrong")
    assert notes.kept[-1][2] == "failed to sign in: wrong; 70 failures before it were not noted one by one"
    await trail.failed("maria", "192.0.2.8", "wrong")
    assert len(notes.kept) == MOST_AT_ONCE + 1


async def test_what_repeats_is_noted_once_in_a_window() -> None:
    notes, clock = Notes(), Clock()
    trail = trail_of(notes, clock)
    for _ in range(5):
        await trail.failed_again("maria", "192.0.2.8", "locked out")
        await trail.failed_again("maria", "192.0.2.9", "locked out")
    assert [origin for _, origin, _ in notes.kept] == ["192.0.2.8", "192.0.2.9"]
    clock.now += 900
    await trail.failed_again("maria", "192.0.2.8", "locked out")
    assert len(notes.kept) == 3
