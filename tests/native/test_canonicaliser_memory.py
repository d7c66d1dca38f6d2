"""The memory of canonicalisers: it leaves the heap of the C library as it was, and can be given back."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from batchseal._native import canonicaliser
from batchseal._native.canonicaliser import CanonicalForm, CanonicalTask, digest_many

# A block of HEAP_BYTES is a mapping of its own while the threshold of the C library is as it was: `mapped` counts those.
PROGRAM = """
import ctypes
from batchseal._native.canonicaliser import CanonicalLimits, CanonicalTask, digest_many

HEAP_BYTES = 4 << 20
NAMES = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in NAMES]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Info
libc.malloc.restype = ctypes.c_void_p
libc.malloc.argtypes = [ctypes.c_size_t]
libc.free.argtypes = [ctypes.c_void_p]

def mapped():
    before = libc.mallinfo2().hblks
    block = libc.malloc(HEAP_BYTES)
    more = libc.mallinfo2().hblks - before
    return block, more

print(mapped()[1])  # never freed: freeing it would raise the threshold
digest_many([CanonicalTask(b"<a/>")] * 40, CanonicalLimits())  # with limits of its own, a canonicaliser is not kept
print(mapped()[1])
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="another C library")
def test_a_buffer_that_comes_and_goes_leaves_large_blocks_to_the_system() -> None:
    """Otherwise blocks as large as the buffer would come from the heap from then on, and the heap of a worker that receives two
    requests at once would grow by holes between them.
    """
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "1"]


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_what_is_kept_is_given_back() -> None:
    """Sixteen forms of 400 KB lie in the buffer together, and the next call finds it again."""
    tasks = [CanonicalTask(b"<a>%s</a>" % (b"x" * 400_000))] * 16
    canonicaliser.give_back_memory()
    before = resident_bytes()
    found = digest_many(tasks)
    assert resident_bytes() - before > 6 << 20
    canonicaliser.give_back_memory()
    assert resident_bytes() - before < 2 << 20
    again = digest_many(tasks)
    assert all(isinstance(one, CanonicalForm) for one in found) and again == found
