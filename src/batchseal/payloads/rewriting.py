"""What must follow a sync that failed.

Linux tells once that data could not be written to the disk, and takes its pages for clean from then on. So the next sync would
succeed, by whatever process and through whatever descriptor, and the data would be on no disk.
"""

import os

PIECE_BYTES = 1 << 20


def written_again(descriptor: int, start: int, stop: int) -> bool:
    """Writes what stands between two offsets once more, where it stands, so that the next sync has all of it to do.

    False where some of it cannot be read or written: then nobody may take it for durable, and the caller destroys it. Where the
    system has dropped what it could not write, older bytes are read here, which do not match the
    checksums of the frames.
    """
    try:
        while start < stop:
            piece = os.pread(descriptor, min(PIECE_BYTES, stop - start), start)
            if not piece:
                return False
            written = os.pwrite(descriptor, piece, start)
            start += written
    except OSError:
        return False
    return True
