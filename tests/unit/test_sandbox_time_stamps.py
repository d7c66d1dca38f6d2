"""The sandbox puts time stamp tokens together from encoded parts: each must be what a library reads and would write."""

import sys
from pathlib import Path
from typing import Any

import pytest
from asn1crypto import tsp

from batchseal.sandbox.authority import Authority
from batchseal.sandbox.timestamps import ACCEPTED, POLICY, TimestampAuthority

NONCES = 1, 128, (1 << 63) + 9
ADDRESS = "http://127.0.0.1:12345"  # certificates name it, as those of a running sandbox do
CALLS_AT_MOST = 3_000  # of Python and C functions; a thousandth of what a token of an unlucky length used to take


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sandbox")


@pytest.fixture(scope="module")
def authority(folder: Path) -> TimestampAuthority:
    return TimestampAuthority(Authority(folder, "p256", ADDRESS).timestamper())


def request(
    imprint: bytes = bytes(32), *, algorithm: str = "sha256", nonce: int | None = 5, chain: bool = True
) -> bytes:
    fields: dict[str, Any] = {
        "version": "v1",
        "message_imprint": {"hash_algorithm": {"algorithm": algorithm}, "hashed_message": imprint},
        "cert_req": chain,
    }
    if nonce is not None:
        fields["nonce"] = nonce
    return bytes(tsp.TimeStampReq(fields).dump())


@pytest.mark.parametrize("algorithm", ACCEPTED)
@pytest.mark.parametrize("chain", [True, False])
@pytest.mark.parametrize("nonce", [None, *NONCES])
def test_a_token_is_what_a_library_would_write(
    authority: TimestampAuthority, algorithm: str, *, chain: bool, nonce: int | None
) -> None:
    imprint = bytes(range(ACCEPTED[algorithm]))
    reply = authority.reply(request(imprint, algorithm=algorithm, nonce=nonce, chain=chain))
    read = tsp.TimeStampResp.load(reply, strict=True)
    assert read.dump(force=True) == reply, "it is in DER"
    signed = read["time_stamp_token"]["content"]
    info = signed["encap_content_info"]["content"].parsed
    assert info["message_imprint"]["hash_algorithm"]["algorithm"].native == algorithm
    assert info["message_imprint"]["hashed_message"].native == imprint
    assert info["nonce"].native == nonce
    assert info["policy"].native == POLICY
    assert len(signed["certificates"]) == (2 if chain else 0)


def test_each_token_has_another_serial_number(authority: TimestampAuthority) -> None:
    tokens = [tsp.TimeStampResp.load(authority.reply(request()))["time_stamp_token"] for _ in range(50)]
    infos = [token["content"]["encap_content_info"]["content"].parsed for token in tokens]
    assert len({info["serial_number"].native for info in infos}) == len(infos)
    assert all(info["serial_number"].native >= 0 for info in infos)


def test_a_token_of_any_length_takes_the_same_work(authority: TimestampAuthority) -> None:
    """asn1crypto encodes everything in a value again whose length ends with the byte 0x80."""
    lengths = set[int]()
    for nonce in (1 << bits for bits in range(0, 160, 8) for _ in range(4)):  # the signature's length differs too
        asked, calls = request(nonce=nonce), 0

        def count(*_: object) -> None:
            nonlocal calls
            calls += 1

        sys.setprofile(count)
        try:
            reply = authority.reply(asked)
        finally:
            sys.setprofile(None)
        assert calls < CALLS_AT_MOST, f"{calls} calls for a reply of {len(reply)} bytes"
        lengths.add(len(tsp.TimeStampResp.load(reply)["time_stamp_token"]["content"].contents) % 256)
    assert 0x80 in lengths, "none had the length for which this test is"
