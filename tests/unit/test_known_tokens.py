"""A token like one before it is judged without a parser: only where the full judgement takes it too, and to the same bytes."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

import pytest
from asn1crypto import tsp
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from batchseal.errors import TimestampFailed
from batchseal.formats.der import children, tlv
from batchseal.sandbox import timestamps as sandbox
from batchseal.sandbox.authority import Authority
from batchseal.sandbox.timestamps import TimestampAuthority
from batchseal.upstream import known_tokens
from batchseal.upstream.known_tokens import KnownSigners
from batchseal.upstream.timestamps import read_reply, request_for
from batchseal.upstream.trust import Roots

IMPRINT, OTHER, NONCE = bytes(range(32)), bytes(range(1, 33)), (1 << 62) + 4711


class Tsa:
    """An authority whose replies can be altered before they are signed, and what a signer process knows of it."""

    def __init__(self, folder: Path) -> None:
        self.signer = Authority(folder, "p256").timestamper()
        self.stamper = TimestampAuthority(self.signer)
        self.roots = Roots(str(folder / "root.pem"))
        self.known = KnownSigners()

    def reply(self, imprint: bytes = IMPRINT, nonce: int = NONCE) -> bytes:
        return self.stamper.reply(request_for(imprint, nonce))

    def altered(self, change: Callable[[tsp.TSTInfo], None]) -> bytes:
        """A reply whose TSTInfo `change` has altered; the signature is over what is there then."""
        reply = tsp.TimeStampResp.load(self.reply())
        info = reply["time_stamp_token"]["content"]["encap_content_info"]["content"].parsed
        change(info)
        token = self.stamper.token(info.dump(force=True), with_chain=True)
        return tlv(b"\x30", children(reply.dump())[0], token)

    def judged(self, reply: bytes, imprint: bytes = IMPRINT, nonce: int = NONCE) -> bytes | None:
        """The token by the full judgement; None where it is refused."""
        try:
            return read_reply(reply, imprint, nonce, self.roots)
        except TimestampFailed:
            return None


@pytest.fixture(scope="module")
def tsa(tmp_path_factory: pytest.TempPathFactory) -> Tsa:
    """One that gave a token before."""
    tsa = Tsa(tmp_path_factory.mktemp("tsa"))
    read_reply(tsa.reply(OTHER), OTHER, NONCE, tsa.roots, tsa.known)
    return tsa


def test_the_request_is_what_a_library_writes() -> None:
    imprint = {"hash_algorithm": {"algorithm": "sha256"}, "hashed_message": IMPRINT}
    wanted = tsp.TimeStampReq({"version": "v1", "message_imprint": imprint, "nonce": NONCE, "cert_req": True})
    assert request_for(IMPRINT, NONCE) == wanted.dump()


def test_a_first_token_is_judged_in_full(tsa: Tsa) -> None:
    known = KnownSigners()
    assert known.token(tsa.reply(), IMPRINT, NONCE) is None


def test_a_token_like_one_before_has_the_same_bytes_by_both_ways(tsa: Tsa) -> None:
    for number in range(32):  # lengths of signatures and serial numbers differ
        nonce = (1 << 62) + number * 977
        reply = tsa.reply(nonce=nonce)
        token = tsa.known.token(reply, IMPRINT, nonce)
        assert token is not None
        assert token in reply
        if number < 4:
            assert token == tsa.judged(reply, nonce=nonce)


def later(seconds: float) -> Callable[[tsp.TSTInfo], None]:
    def change(info: tsp.TSTInfo) -> None:
        info["gen_time"] = datetime.now(UTC) + timedelta(seconds=seconds)

    return change


def another_imprint(info: tsp.TSTInfo) -> None:
    info["message_imprint"]["hashed_message"] = OTHER


def another_algorithm(info: tsp.TSTInfo) -> None:
    info["message_imprint"]["hash_algorithm"] = {"algorithm": "sha3_256"}


def another_nonce(info: tsp.TSTInfo) -> None:
    info["nonce"] = NONCE + 1


@pytest.mark.parametrize(
    "change",
    [later(-400), later(400), another_imprint, another_algorithm, another_nonce],
    ids=["too old", "of the future", "imprint", "algorithm", "nonce"],
)
def test_a_bad_token_of_a_known_signer_is_refused_each_time(tsa: Tsa, change: Callable[[tsp.TSTInfo], None]) -> None:
    reply = tsa.altered(change)
    for _ in range(2):
        assert tsa.known.token(reply, IMPRINT, NONCE) is None
        with pytest.raises(TimestampFailed):
            read_reply(reply, IMPRINT, NONCE, tsa.roots, tsa.known)


@pytest.mark.parametrize("change", [later(0.25), later(-250), lambda _: None], ids=["fraction", "earlier", "as it is"])
def test_an_altered_token_that_is_right_is_taken_by_both_ways(tsa: Tsa, change: Callable[[tsp.TSTInfo], None]) -> None:
    reply = tsa.altered(change)
    token = tsa.known.token(reply, IMPRINT, NONCE)
    assert token is not None
    assert token == tsa.judged(reply)


def test_a_token_by_the_policy_of_another_service_is_judged_as_before(tsa: Tsa) -> None:
    """The request names no policy, so that the authority chooses one (RFC 3161 2.4.1): both ways agree."""

    def change(info: tsp.TSTInfo) -> None:
        info["policy"] = "1.2.3.4"

    reply = tsa.altered(change)
    assert tsa.known.token(reply, IMPRINT, NONCE) == tsa.judged(reply) is not None


def test_a_signature_by_another_key_is_refused(tsa: Tsa) -> None:
    other = replace(tsa.signer, key=ec.generate_private_key(ec.SECP256R1()))
    reply = TimestampAuthority(other).reply(request_for(IMPRINT, NONCE))
    assert tsa.known.token(reply, IMPRINT, NONCE) is None
    assert tsa.judged(reply) is None


def test_the_certificate_of_an_unknown_authority_is_refused(tsa: Tsa, tmp_path: Path) -> None:
    reply = Tsa(tmp_path).reply()
    assert tsa.known.token(reply, IMPRINT, NONCE) is None
    with pytest.raises(TimestampFailed, match="leads to no trusted root"):
        read_reply(reply, IMPRINT, NONCE, tsa.roots, tsa.known)
    assert tsa.known.token(reply, IMPRINT, NONCE) is None, "what was refused is not remembered"


def test_a_signer_is_no_longer_known_when_its_certificate_has_ended(tsa: Tsa, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = tsa.signer.chain[0].not_valid_after_utc + timedelta(seconds=1)

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Clock":
            return cls.fromtimestamp(ended.timestamp(), tz)

    for module in (sandbox, known_tokens):
        monkeypatch.setattr(module, "datetime", Clock)
    reply = tsa.reply()
    assert tsa.known.token(reply, IMPRINT, NONCE) is None
    monkeypatch.setattr("batchseal.upstream.timestamps.datetime", Clock)
    with pytest.raises(TimestampFailed, match="not valid at the token's time"):
        read_reply(reply, IMPRINT, NONCE, tsa.roots, tsa.known)


def hostile(reply: bytes) -> Iterator[bytes]:
    for at in range(len(reply)):
        yield reply[:at] + bytes((reply[at] ^ 0x01,)) + reply[at + 1 :]
        if at % 5 == 0:
            yield reply[:at]
            yield reply[:at] + b"\x80" + reply[at + 1 :]
            yield reply[:at] + b"\0" + reply[at:]
    yield reply + b"\0"


def test_what_is_taken_without_a_parser_is_taken_in_full_too(tsa: Tsa) -> None:
    """Every byte of a reply changed, cut and moved: none is taken that the full judgement refuses."""
    reply = tsa.reply()
    changed = [one for one in hostile(reply) if one != reply]
    assert len(changed) > len(reply)
    taken = [(one, token) for one in changed if (token := tsa.known.token(one, IMPRINT, NONCE)) is not None]
    assert [token for _, token in taken] == [tsa.judged(one) for one, _ in taken]


def test_a_token_of_more_than_one_signer_or_with_more_in_it_is_judged_in_full(tsa: Tsa) -> None:
    reply = tsp.TimeStampResp.load(tsa.reply())
    infos = reply["time_stamp_token"]["content"]["signer_infos"]
    infos.append(infos[0].copy())
    assert tsa.known.token(reply.dump(force=True), IMPRINT, NONCE) is None


def test_signed_attributes_in_another_order_stay_as_they_were_signed(tsa: Tsa) -> None:
    """An authority may not sort them. Whatever the length of the token, it must be given on as it came."""
    for nonce in (1 << bits for bits in range(0, 128, 8)):
        reply = tsp.TimeStampResp.load(
            tsa.stamper.reply(
                tsp.TimeStampReq(
                    {
                        "version": "v1",
                        "message_imprint": {"hash_algorithm": {"algorithm": "sha256"}, "hashed_message": IMPRINT},
                        "nonce": nonce,
                        "cert_req": True,
                    }
                ).dump()
            )
        )
        signed = reply["time_stamp_token"]["content"]
        (info,) = signed["signer_infos"]
        whole = info["signed_attrs"].untag().dump()
        attributes = b"".join(reversed(children(whole)))
        over = tlv(b"\x31", attributes)
        assert isinstance(tsa.signer.key, ec.EllipticCurvePrivateKey)
        signature = tsa.signer.key.sign(over, ec.ECDSA(hashes.SHA256()))
        old = children(children(reply.dump())[1])
        parts = children(children(old[1])[0])
        (last,) = children(parts[-1])
        fields = children(last)
        fields[3], fields[5] = tlv(b"\xa0", attributes), tlv(b"\x04", signature)
        parts[-1] = tlv(b"\x31", tlv(b"\x30", *fields))
        token = tlv(b"\x30", old[0], tlv(b"\xa0", tlv(b"\x30", *parts)))
        changed = tlv(b"\x30", children(reply.dump())[0], token)
        known = KnownSigners()
        assert read_reply(changed, IMPRINT, nonce, tsa.roots, known) == token
        assert known.token(changed, IMPRINT, nonce) == token
