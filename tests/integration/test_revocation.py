"""Whether certificates were revoked: who is asked, how often, and what counts. Over real HTTP."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from harness.waiting import eventually
from tests.support.asking import House
from tests.support.responder import responding

from batchseal.errors import (
    CertificateRevoked,
    ConfigurationError,
    MaterialImpossible,
    MaterialUnavailable,
)
from batchseal.settings.load import Settings
from batchseal.store.revocation_answers import StoredAnswer
from batchseal.upstream.ocsp import CLOCK
from batchseal.upstream.revocation import NothingKept, Revocation

HOUR = timedelta(hours=1)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with responding() as responder:
        yield House(responder, tmp_path)


async def test_the_material_holds_everything_between_signer_and_root(house: House) -> None:
    found = await house.revocation().material([house.responder.chain])
    pki = house.responder
    wanted = [one.public_bytes(Encoding.DER) for one in (pki.seal, pki.middle, pki.root, pki.own)]
    assert sorted(found.certificates) == sorted(wanted)
    assert (len(found.ocsp_responses), len(found.crls)) == (1, 1)
    assert pki.asked == {"ocsp": 1, "Root.crl": 1}


async def test_however_many_wait_the_responder_is_asked_once(house: House) -> None:
    revocation = house.revocation()
    await asyncio.gather(*(revocation.material([house.responder.chain]) for _ in range(200)))
    assert house.responder.asked == {"ocsp": 1, "Root.crl": 1}


async def test_another_process_takes_what_is_kept(house: House) -> None:
    await house.revocation().check(house.responder.chain)
    house.responder.away = {"ocsp", "crl"}
    await house.revocation().check(house.responder.chain)
    assert house.responder.asked == {"ocsp": 1, "Root.crl": 1}


async def test_what_is_kept_is_verified_anew(house: House) -> None:
    await house.revocation().check(house.responder.chain)
    for key, answer in house.kept.answers.items():
        forged = answer.content[:-1] + bytes([answer.content[-1] ^ 1])
        house.kept.answers[key] = StoredAnswer(answer.kind, forged, answer.fetched_at, answer.until)
    await house.revocation().check(house.responder.chain)
    assert house.responder.asked == {"ocsp": 2, "Root.crl": 2}


async def test_a_database_that_is_away_costs_nothing_but_a_request(house: House) -> None:
    house.kept.away = True
    revocation = house.revocation()
    for _ in range(3):
        await revocation.check(house.responder.chain)
    assert house.responder.asked == {"ocsp": 1, "Root.crl": 1}


async def test_an_answer_is_renewed_in_the_background_from_half_its_life(house: House) -> None:
    revocation = house.revocation()
    await revocation.check(house.responder.chain)
    house.clock.ahead = 11 * HOUR
    await revocation.check(house.responder.chain)
    assert house.responder.asked == {"ocsp": 1, "Root.crl": 1}
    house.clock.ahead = 13 * HOUR
    await revocation.check(house.responder.chain)
    await eventually(lambda: house.responder.asked == {"ocsp": 2, "Root.crl": 2})


async def test_a_responder_that_is_away_fails_nothing_while_the_answer_counts(house: House) -> None:
    revocation = house.revocation()
    await revocation.check(house.responder.chain)
    house.responder.away = {"ocsp", "crl"}
    for hours in (13, 18, 23):
        house.clock.ahead = hours * HOUR
        await revocation.check(house.responder.chain)
    house.clock.ahead = 25 * HOUR
    with pytest.raises(MaterialUnavailable, match="503"):
        await revocation.check(house.responder.chain)
    house.responder.away = set()
    house.clock.ahead = timedelta()
    await revocation.check(house.responder.chain)


async def test_a_responder_cannot_ask_for_a_long_pause(house: House) -> None:
    """Whoever is on the way may write the header: it comes unsigned over plain HTTP."""
    revocation = house.revocation()
    house.responder.away, house.responder.retry_after = {"ocsp", "crl"}, "86400"
    with pytest.raises(MaterialUnavailable):
        await revocation.check(house.responder.chain)
    with pytest.raises(MaterialUnavailable) as paused:
        await revocation.check(house.responder.chain)
    assert paused.value.retry_after_seconds is not None and 500 < paused.value.retry_after_seconds <= 600


async def test_an_answer_counts_no_longer_than_the_configuration_says(house: House) -> None:
    revocation = house.revocation(max_age=2 * HOUR)
    await revocation.check(house.responder.chain)
    house.responder.away = {"ocsp", "crl"}
    house.clock.ahead = 3 * HOUR
    with pytest.raises(MaterialUnavailable):
        await revocation.check(house.responder.chain)


async def test_an_old_answer_counts_while_its_own_dates_say_so(house: House) -> None:
    """A root publishes its list every few months; it is asked for again every day all the same."""
    revocation = house.revocation()
    house.responder.age, house.responder.life = timedelta(days=80), timedelta(days=10)
    await revocation.check(house.responder.chain)
    house.responder.away = {"ocsp", "crl"}
    house.clock.ahead = 23 * HOUR
    await revocation.check(house.responder.chain)
    await house.revocation().check(house.responder.chain)  # another process takes what is kept, as long as this one
    house.clock.ahead = 25 * HOUR
    for one in (revocation, house.revocation()):
        with pytest.raises(MaterialUnavailable):
            await one.check(house.responder.chain)


@pytest.mark.parametrize("where", ["revoked", "unknown"])
async def test_a_revoked_certificate_is_said_by_name(house: House, where: str) -> None:
    getattr(house.responder, where).add(house.responder.seal.serial_number)
    revocation = house.revocation()
    for _ in range(2):
        with pytest.raises(CertificateRevoked, match=f"CN=Seal .*{where}"):
            await revocation.check(house.responder.chain)
    assert house.responder.asked["ocsp"] == 1
    assert [text for text in revocation.remarks() if "CN=Seal" in text]
    assert revocation.numbers()["batchseal_certificates_revoked"] == 1


async def test_a_revoked_issuer_counts_as_well(house: House) -> None:
    house.responder.revoked.add(house.responder.middle.serial_number)
    with pytest.raises(CertificateRevoked, match="CN=Middle"):
        await house.revocation().check(house.responder.chain)


async def test_a_certificate_that_is_revoked_later_is_noticed_by_the_renewal(house: House) -> None:
    revocation = house.revocation()
    await revocation.check(house.responder.chain)
    house.responder.revoked.add(house.responder.seal.serial_number)
    house.clock.ahead = 13 * HOUR
    await revocation.check(house.responder.chain)  # begins the renewal
    await eventually(lambda: bool(revocation.remarks()))
    with pytest.raises(CertificateRevoked):
        await revocation.check(house.responder.chain)


async def test_an_older_good_answer_does_not_outlive_a_revocation(house: House) -> None:
    """Neither in another process nor after a restart while the responder is away."""
    revocation = house.revocation()
    await revocation.check(house.responder.chain)
    kept = len(house.kept.answers)
    house.responder.revoked.add(house.responder.seal.serial_number)
    house.clock.ahead = 13 * HOUR
    await revocation.check(house.responder.chain)  # the older answer still counts, and its renewal begins
    await eventually(lambda: bool(revocation.remarks()) and len(house.kept.answers) < kept)
    with pytest.raises(CertificateRevoked):
        await house.revocation().check(house.responder.chain)
    house.responder.away = {"ocsp", "crl"}
    with pytest.raises(MaterialUnavailable):
        await house.revocation().check(house.responder.chain)


async def test_an_answer_without_an_end_is_not_kept_for_later_signatures(house: House) -> None:
    house.responder.life = None
    revocation = house.revocation()
    await revocation.material([house.responder.chain])
    await revocation.material([house.responder.chain])
    assert house.responder.asked["ocsp"] == 1
    house.clock.ahead = CLOCK
    found = await revocation.material([house.responder.chain])
    # The responder's clock stands still, so its answer is too old again, and a list counts in its place.
    assert (house.responder.asked["ocsp"], len(found.ocsp_responses), len(found.crls)) == (2, 0, 2)


async def test_a_list_is_asked_for_where_the_responder_is_away(house: House) -> None:
    house.responder.away = {"ocsp"}
    found = await house.revocation().material([house.responder.chain])
    assert (len(found.ocsp_responses), len(found.crls)) == (0, 2)
    assert house.responder.asked == {"ocsp": 1, "Middle.crl": 1, "Root.crl": 1}


async def test_a_list_that_says_revoked_counts_as_well(house: House) -> None:
    house.responder.away = {"ocsp"}
    house.responder.revoked.add(house.responder.seal.serial_number)
    with pytest.raises(CertificateRevoked, match=r"CN=Seal was revoked on .* says the CRL"):
        await house.revocation().check(house.responder.chain)


async def test_the_status_of_the_responder_counts_unless_its_issuer_says_otherwise(house: House) -> None:
    pki = house.responder
    pki.has_nocheck = False
    pki.own, pki.own_key = pki.issue(
        "Responder", (pki.middle, pki.middle_key), places="crl", purpose=ExtendedKeyUsageOID.OCSP_SIGNING
    )
    found = await house.revocation().material([pki.chain])
    assert (len(found.ocsp_responses), len(found.crls)) == (1, 2)
    pki.revoked.add(pki.own.serial_number)
    house.kept.answers.clear()
    with pytest.raises(CertificateRevoked, match="CN=Responder"):
        await house.revocation().material([pki.chain])


async def test_a_list_that_is_too_large_is_judged_and_not_embedded(house: House) -> None:
    house.responder.crl_entries = 3000
    house.responder.away = {"ocsp"}
    revocation = house.revocation(crl_embed_bytes=50_000)
    await revocation.check(house.responder.chain)
    with pytest.raises(MaterialImpossible, match=r"CN=Seal has \d+ bytes, more than --crl-embed-bytes"):
        await revocation.material([house.responder.chain])


async def test_a_missing_issuer_is_fetched_from_where_the_certificate_says(house: House) -> None:
    revocation = house.revocation()
    await revocation.check(house.responder.chain[:1])
    assert house.responder.asked == {"Middle.cer": 1, "ocsp": 1, "Root.crl": 1}
    await revocation.check(house.responder.chain[:1])
    assert house.responder.asked["Middle.cer"] == 1


async def test_nobody_is_asked_about_a_certificate_without_a_trusted_root(house: House, tmp_path: Path) -> None:
    other, _ = house.responder.issue("Other", None)
    (house.folder / "roots.pem").write_bytes(other.public_bytes(Encoding.PEM))
    with pytest.raises(MaterialImpossible, match="CN=Seal leads to no trusted root"):
        await house.revocation().check(house.responder.chain)
    assert "ocsp" not in house.responder.asked


async def test_a_certificate_that_names_nobody_cannot_be_checked(house: House) -> None:
    pki = house.responder
    pki.seal, pki.seal_key = pki.issue("Seal", (pki.middle, pki.middle_key), places="")
    with pytest.raises(MaterialImpossible, match="CN=Seal names no OCSP responder and no CRL"):
        await house.revocation().check(pki.chain)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]"])
async def test_a_private_host_is_asked_only_where_it_is_named(house: House, host: str) -> None:
    pki = house.responder
    address = pki.address.replace("127.0.0.1", host)
    pki.seal, pki.seal_key = pki.issue("Seal", (pki.middle, pki.middle_key), places="ocsp", address=address)
    with pytest.raises(MaterialUnavailable, match="--revocation-private-hosts does not name"):
        await house.revocation(hosts=("other.example",)).check(pki.chain)
    assert pki.asked == {}


async def test_a_redirect_is_not_followed(house: House) -> None:
    house.responder.redirects = True
    with pytest.raises(MaterialUnavailable, match="302"):
        await house.revocation().check(house.responder.chain)
    assert set(house.responder.asked) == {"ocsp", "Middle.crl"}


@pytest.mark.parametrize("how", ["hangs", "drips"])
async def test_nobody_is_waited_for_longer_than_the_limit(house: House, how: str) -> None:
    """Neither one who says nothing nor one whose bytes never come to an end."""
    setattr(house.responder, how, True)
    with pytest.raises(MaterialUnavailable, match=r"/ocsp: .*timed out.*Middle\.crl: .*timed out"):
        await house.revocation(seconds=2.0).check(house.responder.chain)
    assert house.responder.asked == {"ocsp": 1, "Middle.crl": 1}


async def test_a_responder_without_the_right_is_refused(house: House) -> None:
    pki = house.responder
    pki.own, pki.own_key = pki.issue("Stranger", (pki.root, pki.root_key), places="")
    pki.seal, pki.seal_key = pki.issue("Seal", (pki.middle, pki.middle_key), places="ocsp")
    with pytest.raises(MaterialUnavailable, match="no right"):
        await house.revocation().check(pki.chain)


async def test_the_hosts_are_those_of_the_whole_path(house: House) -> None:
    address = house.responder.address.removeprefix("http://")
    assert await house.revocation().hosts(house.responder.chain) == [address]


async def test_a_command_keeps_nothing(house: House) -> None:
    revocation = house.revocation(kept=NothingKept())  # type: ignore[arg-type]
    await revocation.check(house.responder.chain)
    assert house.kept.answers == {}


async def test_roots_that_cannot_be_read_are_said(house: House) -> None:
    (house.folder / "roots.pem").write_text("no certificate")
    with pytest.raises(MaterialImpossible, match="holds no certificate"):
        await house.revocation().check(house.responder.chain)
    with pytest.raises(ConfigurationError, match=r"--signer-roots: .* holds no certificate"):
        Revocation.of(Settings(signer_roots=str(house.folder / "roots.pem")), house.kept)
