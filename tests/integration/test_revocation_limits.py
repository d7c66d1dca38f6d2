"""What an authority can make the signer do: requests and memory for the status of certificates are bounded. Over real HTTP."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from tests.support.asking import House
from tests.support.responder import responding

from batchseal.errors import MaterialImpossible, MaterialUnavailable, NoRoom
from batchseal.upstream.gathering import MOST_CERTIFICATES, MOST_RESPONDERS
from batchseal.upstream.revocation import CRL_COPIES, MAX_CRL_BYTES


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with responding() as responder:
        yield House(responder, tmp_path)


@pytest.mark.parametrize("further", [1, MOST_RESPONDERS])
async def test_responders_who_answer_for_each_other_are_followed(house: House, further: int) -> None:
    house.responder.further_responders = further
    found = await house.revocation().material([house.responder.chain])
    assert len(found.ocsp_responses) == house.responder.asked["ocsp"] == further + 1
    assert len(found.certificates) == len(house.responder.chain) + 1 + further + 1  # the root and all responders


async def test_responders_without_end_are_not_followed(house: House) -> None:
    """A further document asks nobody again: the authority answers in this way, and not only now."""
    house.responder.further_responders = 10_000
    revocation = house.revocation()
    for _ in range(3):
        with pytest.raises(MaterialImpossible, match=f"CN=Middle has more than {MOST_RESPONDERS} OCSP responders"):
            await revocation.material([house.responder.chain])
        assert house.responder.asked["ocsp"] == MOST_RESPONDERS + 1


async def test_responders_without_end_of_many_chains_are_bounded_together(house: House) -> None:
    pki, revocation, chains = house.responder, house.revocation(), []
    for number in range(MOST_CERTIFICATES // 2):
        seal, _ = pki.issue(f"Seal {number}", (pki.middle, pki.middle_key), places="ocsp")
        pki.further[seal.serial_number] = seal
        chains.append((seal.public_bytes(Encoding.DER), pki.chain[1]))
    pki.further_responders = 10_000
    with pytest.raises(MaterialImpossible, match="more than"):
        await revocation.material(chains)
    assert pki.asked.total() <= MOST_CERTIFICATES


class Room:
    """A `Reserve` that notes what is held."""

    def __init__(self, room_bytes: int) -> None:
        self.room_bytes, self.held_bytes, self.most_bytes = room_bytes, 0, 0

    @asynccontextmanager
    async def __call__(self, memory_bytes: int) -> AsyncIterator[None]:
        if self.held_bytes + memory_bytes > self.room_bytes:
            raise NoRoom("the memory for uploads is in use", retry_after_seconds=0)
        self.held_bytes += memory_bytes
        self.most_bytes = max(self.most_bytes, self.held_bytes)
        try:
            yield
        finally:
            self.held_bytes -= memory_bytes


async def test_the_memory_of_a_list_is_booked_before_it_is_read(house: House) -> None:
    house.responder.crl_entries, house.responder.away = 4000, {"ocsp"}
    room = Room(64 << 20)
    await house.revocation(reserve=room).check(house.responder.chain)
    sizes = [len(answer.content) for answer in house.kept.answers.values()]
    assert min(sizes) > 64 << 10
    assert room.held_bytes == 0
    assert room.most_bytes == CRL_COPIES * max(sizes)
    # What is kept is booked before it is read, too.
    again = Room(64 << 20)
    await house.revocation(reserve=again).check(house.responder.chain)
    assert (again.held_bytes, again.most_bytes) == (0, CRL_COPIES * max(sizes))


async def test_a_list_for_which_there_is_no_memory_is_tried_again(house: House) -> None:
    house.responder.crl_entries, house.responder.away = 4000, {"ocsp"}
    room = Room(100_000)
    revocation = house.revocation(reserve=room)
    with pytest.raises(MaterialUnavailable, match=r"there is no memory for a CRL of \d+ bytes: the memory for uploads"):
        await revocation.check(house.responder.chain)
    assert (room.held_bytes, room.most_bytes) == (0, 0)
    room.room_bytes = 64 << 20
    await revocation.check(house.responder.chain)


async def test_a_list_that_does_not_say_its_length_is_booked_as_the_longest(house: House) -> None:
    house.responder.away, house.responder.says_length = {"ocsp"}, False
    room = Room(CRL_COPIES * MAX_CRL_BYTES - 1)
    with pytest.raises(MaterialUnavailable, match=f"no memory for a CRL of {MAX_CRL_BYTES} bytes"):
        await house.revocation(reserve=room).check(house.responder.chain)


async def test_short_lists_and_answers_are_not_booked(house: House) -> None:
    await house.revocation(reserve=Room(0)).check(house.responder.chain)
