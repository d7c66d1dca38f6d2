"""Grants that a person gives: asked for with a one-time password and a PIN, kept for all instances, renewed when they end."""

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID, uuid4

import asyncpg
import pytest
from harness.waiting import eventually
from tests.support.csc2 import Csc2
from tests.support.operators import operators
from tests.support.parts import Connect
from tests.support.upstream import CALLER, CONTENTS, Running, running_service

from batchseal.commands import credential as command
from batchseal.errors import CallRejected, CredentialUnusable, DatabaseUnavailable
from batchseal.operation import OperationStatus
from batchseal.settings.client_services import ClientServices
from batchseal.settings.load import Settings
from batchseal.signer.pace import Pace
from batchseal.store.credentials import CredentialTable, StoredGrant
from batchseal.system.backoff import Backoff
from batchseal.upstream.breaker import FAILURES
from batchseal.upstream.remote import RemoteUpstream

PIN = "1234"
# Patience that has ended before anything was tried: who waits for an operator waits all the same.
PACE = Pace(between_tries=Backoff(0.05, 0.2), look_seconds=0.05, patience_seconds=0.0)


class Grants(CredentialTable):
    """The database is away for the next `away` looks at a grant."""

    away = 0

    async def grant(self, credential: str, client: str) -> StoredGrant | None:
        if self.away:
            self.away -= 1
            raise DatabaseUnavailable("the database is away")
        return await super().grant(credential, client)


@asynccontextmanager
async def running_with(
    connect_store: Connect, folder: Path, double: Csc2, instance: UUID, grants: type[CredentialTable] = CredentialTable
) -> AsyncIterator[Running]:
    store = await connect_store(instance)
    notes = grants(store.database)
    async with running_service(connect_store, instance, folder, double, pace=PACE, notes=notes) as running:
        yield running


async def renew(running: Running) -> None:
    assert running.upstream.renewal is not None
    await running.upstream.renewal.send_otp("A")
    assert isinstance(running.double, Csc2)
    renewed = await running.upstream.renewal.renew("A", running.double.otp, PIN)
    assert (renewed.credential_id, renewed.signatures) == ("one", running.double.most)


async def reaches(running: Running, operation_id: int, wanted: OperationStatus) -> None:
    async def reached() -> bool:
        return (await running.service.status_by_id(CALLER, operation_id)).status is wanted

    await eventually(reached)


@pytest.mark.parametrize("method", [(), ("send-otp",)])
async def test_work_waits_for_the_grant_and_goes_on_with_it(
    connect_store: Connect, database_url: str, tmp_path: Path, method: tuple[str, ...]
) -> None:
    double = Csc2("otp", *method)
    async with running_with(connect_store, tmp_path, double, uuid4()) as running, operators(database_url) as operator:
        first = await running.submit("waits", CONTENTS[:7])
        await reaches(running, first.id, OperationStatus.EXECUTION_ERROR)
        assert "signHash" not in double.calls and "authorize" not in double.calls
        (line,) = await operator.credentials()
        assert (line.credential_id, line.client_service, line.state) == ("one", "A", "lapsed")
        assert [alarm.kind for alarm in await operator.alarms()] == ["grant lapsed", "certificate ends"]
        state = await running.upstream.state()
        assert state.numbers["batchseal_grants_lapsed"] == 1
        assert any("batchseal credential renew A" in remark for remark in state.remarks)

        await renew(running)
        row, results = await running.finished(first.id)
        assert (row.status, len(results)) == (OperationStatus.EXECUTED, 7)
        second = await running.submit("goes on", CONTENTS[7:12])
        assert (await running.finished(second.id))[0].status is OperationStatus.EXECUTED
        assert (double.calls["authorize"], double.otps) == (1, 1)
        (line,) = await operator.credentials()
        assert (line.grant_total, line.grant_left, line.needs_otp) == (double.most, double.most - 12, True)
        assert line.state == "ends soon"  # its end is ten minutes away
        assert line.subject == "CN=Misbehaving" and line.key == "EC 256"
        assert all(tries == 1 for tries in double.sent.values()), "a digest was signed twice"


async def test_a_database_that_is_away_is_no_failure_of_the_signing_service(
    connect_store: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The breaker stays closed, no try is spent, and the call is made once the database is back."""
    double = Csc2("otp")
    async with running_with(connect_store, tmp_path, double, uuid4(), Grants) as running:
        await renew(running)
        monkeypatch.setattr(Grants, "away", FAILURES + 1)
        row, results = await running.finished((await running.submit("waits", CONTENTS[:3])).id)
        assert (row.status, len(results)) == (OperationStatus.EXECUTED, 3)
        numbers = (await running.upstream.state()).numbers
        assert numbers["batchseal_upstream_breaker_opened_total"] == 0
        assert numbers["batchseal_upstream_sign_calls_failed_total"] == 0
        assert numbers["batchseal_upstream_sign_calls_total"] == double.calls["signHash"] == 1
        assert set(double.sent.values()) == {1}


async def test_when_it_has_lapsed_work_waits_until_it_is_renewed(
    connect_store: Connect, tmp_path: Path, sees_all_rows: asyncpg.Connection
) -> None:
    """By the clock, by the server, and by its count."""
    double = Csc2("otp")
    double.most = 1_000
    async with running_with(connect_store, tmp_path, double, uuid4()) as running:
        await renew(running)
        first = await running.submit("first", CONTENTS[:3])
        await running.finished(first.id)
        endings = {
            "the clock": "UPDATE credentials SET grant_ends_at = now()",
            "the server": "",
            "the count": "UPDATE credentials SET grant_left = 0",
        }
        for number, (name, statement) in enumerate(endings.items()):
            if statement:
                await sees_all_rows.execute(statement)
            else:
                double.grants.clear()
            row = await running.submit(f"after {name}", CONTENTS[3 + 3 * number : 6 + 3 * number])
            await reaches(running, row.id, OperationStatus.EXECUTION_ERROR)
            await renew(running)
            ended, _ = await running.finished(row.id)
            assert ended.status is OperationStatus.EXECUTED, name
        assert all(tries == 1 for tries in double.sent.values())


async def test_calls_are_no_larger_than_what_the_grant_has_left(
    connect_store: Connect, tmp_path: Path, sees_all_rows: asyncpg.Connection
) -> None:
    double = Csc2("otp")
    async with running_with(connect_store, tmp_path, double, uuid4()) as running:
        await renew(running)
        await running.finished((await running.submit("first", CONTENTS[:1])).id)
        await sees_all_rows.execute("UPDATE credentials SET grant_left = 5")
        row = await running.submit("more than that", CONTENTS[1:12])
        await reaches(running, row.id, OperationStatus.EXECUTION_ERROR)
        left = await sees_all_rows.fetchval("SELECT grant_left FROM credentials")
        assert left == 0, "what was left was not used"
        await renew(running)
        ended, _ = await running.finished(row.id)
        assert ended.status is OperationStatus.EXECUTED
        calls = double.calls["signHash"]
        await running.finished((await running.submit("large again", CONTENTS[12:20])).id)
        assert double.calls["signHash"] - calls == 1
        assert all(tries == 1 for tries in double.sent.values())


async def test_a_restart_and_another_instance_go_on_with_it(
    connect_store: Connect, tmp_path: Path, sees_all_rows: asyncpg.Connection
) -> None:
    double = Csc2("otp")
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    async with running_with(connect_store, folders[0], double, uuid4()) as running:
        await renew(running)
        await running.finished((await running.submit("one", CONTENTS[:3])).id)
    double.port = 0
    async with running_with(connect_store, folders[1], double, uuid4()) as running:
        await running.finished((await running.submit("two", CONTENTS[3:6])).id)
    assert double.calls["authorize"] == 1
    stored = await sees_all_rows.fetchval("SELECT grant_value FROM credentials")
    assert not any(sad.split()[0].encode() in stored for sad in double.grants), "the grant is stored in clear"


async def test_a_wrong_password_changes_nothing(connect_store: Connect, tmp_path: Path) -> None:
    double = Csc2("otp")
    async with running_with(connect_store, tmp_path, double, uuid4()) as running:
        await renew(running)
        assert running.upstream.renewal is not None
        for otp, pin in (("000000", PIN), (double.otp or "1", "9999")):
            with pytest.raises(CallRejected):
                await running.upstream.renewal.renew("A", otp, pin)
        row, _ = await running.finished((await running.submit("still", CONTENTS[:3])).id)
        assert row.status is OperationStatus.EXECUTED


async def test_one_for_each_use_is_refused_with_that_cause(
    connect_store: Connect, database_url: str, tmp_path: Path
) -> None:
    double = Csc2("otp")
    double.each_use = True
    async with running_with(connect_store, tmp_path, double, uuid4()) as running, operators(database_url) as operator:
        row = await running.submit("refused", CONTENTS[:2])
        await reaches(running, row.id, OperationStatus.EXECUTION_FAILED)
        documents = await running.parts.store.documents(row.id, row.created_at)
        assert {one.cause for one in documents} == {"credential 'one': it needs a one-time password for each use"}
        (line,) = await operator.credentials()
        assert "one-time password for each use" in line.problem
        assert running.upstream.renewal is not None
        with pytest.raises(CredentialUnusable):
            await running.upstream.renewal.send_otp("A")


async def test_without_a_place_to_keep_grants_it_cannot_be_used(tmp_path: Path) -> None:
    double = Csc2("otp")
    address = await double.start()
    (tmp_path / "services.json").write_text('{"A": {"secret": "s"}}')
    upstream = RemoteUpstream(Settings(service_domain=address), ClientServices.load(tmp_path / "services.json"))
    try:
        credential = await upstream.credential(CALLER)
        async for part in upstream.sign(CALLER, credential, [bytes(32)], request_key="k"):
            assert [type(answer) for _, answer in part] == [CredentialUnusable]
    finally:
        await upstream.close()
        await double.stop()


async def test_the_command_renews_and_leaves_an_entry(
    connect_store: Connect,
    database_url: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A program gives password and PIN as lines of standard input. Neither is stored or shown."""
    double = Csc2("otp")
    double.otps = 41  # so that the password is one that nothing else looks like
    (tmp_path / "client-services-config.json").write_text('{"A": {"secret": "a-long-secret-of-A-1234"}}')
    (tmp_path / "client-services-config.json").chmod(0o600)
    address = await double.start()
    settings = Settings(database_url=database_url, service_domain=address, work_folder=tmp_path)
    try:
        sent = double.send_otp

        def send_otp(body: object) -> object:
            answer = sent(body)
            monkeypatch.setattr("sys.stdin", io.StringIO(f"{double.otp}\n{PIN}\n"))
            return answer

        monkeypatch.setattr(double, "send_otp", send_otp)
        assert await command.renew(settings, "A") == 0
        said = capsys.readouterr().out
        assert "Credential one may sign until" in said and "000042" not in said
        assert await command.show(settings, as_json=False) == 0
        assert "1000000 of 1000000" in capsys.readouterr().out
        monkeypatch.setattr("sys.stdin", io.StringIO("000000\n9999\n"))
        monkeypatch.setattr(double, "send_otp", lambda body: {})
        assert await command.renew(settings, "A") == 1
        assert "wrong OTP or PIN" in capsys.readouterr().err
    finally:
        await double.stop()
    async with operators(database_url) as operator:
        (entry,) = (await operator.audit()).rows
        assert entry.event == "ACTED"
        assert "grant of credential one of A renewed" in entry.detail
        assert entry.actor and entry.origin.startswith("command line on ")
        assert "000042" not in repr(entry)
