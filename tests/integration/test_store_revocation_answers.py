"""What is kept of certificates, in a real database."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

from tests.support.parts import Connect

from batchseal.store.revocation_answers import RevocationAnswers, StoredAnswer


async def test_an_answer_is_kept_until_it_is_forgotten(connect_store: Connect) -> None:
    answers, now = RevocationAnswers((await connect_store(uuid4())).database), datetime.now(UTC)
    one, other = (
        StoredAnswer(1, b"good", now, now + timedelta(hours=1)),
        StoredAnswer(2, b"list", now, now + timedelta(hours=2)),
    )
    await answers.keep(b"a", one)
    await answers.keep(b"b", other)
    await answers.forget(b"a")
    await answers.forget(b"c")
    assert (await answers.size(b"a"), await answers.size(b"b")) == (0, 4)
    assert await answers.of(b"a") is None
    kept = await answers.of(b"b")
    assert kept is not None and (kept.kind, kept.content) == (2, b"list")
