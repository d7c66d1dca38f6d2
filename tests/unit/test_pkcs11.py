"""How the signer handles bad answers of the process that runs a PKCS#11 library."""

import sys
from pathlib import Path

import pytest

from batchseal.errors import OutcomeUnknown
from batchseal.system import messages
from batchseal.upstream.pkcs11 import Pkcs11Key

URL = "pkcs11:token=t1?module-path=/usr/lib/none.so"
# Reads two messages, and then writes the bytes that are given to it as hexadecimal.
PROCESS = """
import sys
from batchseal.system import messages
for _ in range(2):
    messages.read_blocking(sys.stdin.buffer, 1 << 20)
sys.stdout.buffer.write(bytes.fromhex(sys.argv[1]))
"""


@pytest.mark.parametrize(
    "answer", [b"", messages.LENGTH.pack(9), messages.LENGTH.pack(1) + b"\xc1", messages.LENGTH.pack(1 << 30)]
)
async def test_an_answer_that_cannot_be_read_is_a_lost_one(tmp_path: Path, answer: bytes) -> None:
    """Nobody knows whether the key has signed. The lane handles OutcomeUnknown; any other exception would be unexpected."""
    key = Pkcs11Key(URL, tmp_path / "lock", (sys.executable, "-c", PROCESS, answer.hex()))
    with pytest.raises(OutcomeUnknown):
        await key.chain("1234")
    await key.close()
