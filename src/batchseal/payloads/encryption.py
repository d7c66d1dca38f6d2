"""Encrypts and decrypts the content of frames, in pieces: AES-256-GCM (NIST SP 800-38D), whatever store they go into.

    content = prelude (16 bytes, little endian) + pieces
    prelude = version 1 u8 | flags u8 | 0 u16 | number of the frame u32 | bytes of the content u64
    piece   = ciphertext (PIECE_BYTES, the last one fewer) + tag (16 bytes)

Each payload has a key of its own: HKDF-SHA256 (RFC 5869) of a key of the key file, with a random salt and the payload's UUID. The
nonce of a piece is the number of its frame in the payload and its own number in the frame, so no nonce comes twice for a key, and
none is left to chance. The tag of a piece also covers the prelude and the kind and ordinal of the frame. A piece that was
changed, moved, taken from elsewhere or left out is therefore found, and so is a frame that was cut off between two pieces.
"""

import hmac
import io
import os
import struct
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from batchseal.errors import PayloadDamaged
from batchseal.payloads.blocks import BLOCK_BYTES
from batchseal.payloads.frames import FrameKind
from batchseal.payloads.interface import Encryption
from batchseal.payloads.keys import PayloadKey
from batchseal.payloads.pieces import Pieces

if TYPE_CHECKING:
    from typing_extensions import Buffer

PIECE_BYTES = BLOCK_BYTES  # what a delivery reads at once
TAG_BYTES, KEY_BYTES, CHECK_BYTES, SALT_BYTES = 16, 32, 16, 16
PRELUDE = struct.Struct("<BBHIQ")
PLACE = struct.Struct("<BII")  # kind and ordinal of the frame, number of the piece
NONCE = struct.Struct("<III")
VERSION = 1

Bytes = bytes | bytearray | memoryview


def encryption_for(key: PayloadKey, payload_id: UUID) -> "tuple[Encryption, PayloadCipher]":
    """For a payload that is written now."""
    salt = os.urandom(SALT_BYTES)
    own, check = _derive(key, salt, payload_id)
    return Encryption(key.id, salt, check), PayloadCipher(own)


def cipher_of(encryption: Encryption, key: PayloadKey, payload_id: UUID) -> "PayloadCipher | None":
    """For a payload that is read. None where this is another key than the one it was encrypted with."""
    own, check = _derive(key, encryption.salt, payload_id)
    return PayloadCipher(own) if hmac.compare_digest(check, encryption.check) else None


def _derive(key: PayloadKey, salt: bytes, payload_id: UUID) -> tuple[bytes, bytes]:
    """The key of a payload, and what tells that it is right."""
    info = b"batchseal payload 1" + payload_id.bytes
    made = HKDF(SHA256(), KEY_BYTES + CHECK_BYTES, salt, info).derive(key.secret)
    return made[:KEY_BYTES], made[KEY_BYTES:]


class FramePlace:
    """Where a piece belongs: all that its tag covers beside its content."""

    def __init__(self, kind: FrameKind, ordinal: int, prelude: bytes) -> None:
        """Raises PayloadDamaged for a prelude that no release has written."""
        self.flags: int
        self.content_bytes: int
        version, self.flags, _, self._number, self.content_bytes = PRELUDE.unpack(prelude)
        self.what = f"the stored {kind.name.lower() if isinstance(kind, FrameKind) else kind} {ordinal}"
        if version != VERSION:
            raise PayloadDamaged(f"{self.what} is encrypted in a way that this release does not know")
        self.prelude = prelude
        self._kind, self._ordinal = int(kind), ordinal

    @classmethod
    def of_new(cls, kind: FrameKind, ordinal: int, number: int, flags: int, content_bytes: int) -> "FramePlace":
        """For the frame with this number in its payload."""
        return cls(kind, ordinal, PRELUDE.pack(VERSION, flags, 0, number, content_bytes))

    @property
    def pieces(self) -> int:
        """An empty content has one piece too."""
        return max(1, (self.content_bytes + PIECE_BYTES - 1) // PIECE_BYTES)

    @property
    def stored_bytes(self) -> int:
        return PRELUDE.size + self.content_bytes + TAG_BYTES * self.pieces

    def content_of(self, piece: int) -> tuple[int, int]:
        """Where the piece begins and ends in the content."""
        return piece * PIECE_BYTES, min((piece + 1) * PIECE_BYTES, self.content_bytes)

    def stored_of(self, piece: int) -> tuple[int, int]:
        """Where it begins and ends in what is stored, with its tag."""
        start, stop = self.content_of(piece)
        before = PRELUDE.size + TAG_BYTES * piece
        return before + start, before + stop + TAG_BYTES

    def nonce(self, piece: int) -> bytes:
        return NONCE.pack(self._number, piece, 0)

    def associated(self, piece: int) -> bytes:
        return self.prelude + PLACE.pack(self._kind, self._ordinal, piece)


class PayloadCipher:
    """The encryption of one payload."""

    def __init__(self, key: bytes) -> None:
        self._aead = AESGCM(key)

    def encrypt(self, place: FramePlace, content: memoryview) -> bytearray:
        """The content of a frame of one piece, as it is stored."""
        stored = bytearray(place.stored_bytes)
        stored[: PRELUDE.size] = place.prelude
        with memoryview(stored) as view:
            self.encrypt_piece(place, 0, content, slice_of(view, place.stored_of(0)))
        return stored

    def encrypt_piece(self, place: FramePlace, piece: int, content: memoryview, into: memoryview) -> None:
        """`content` is that of the whole frame."""
        one = slice_of(content, place.content_of(piece))
        self._aead.encrypt_into(place.nonce(piece), one, place.associated(piece), into)

    def decrypt_piece(self, place: FramePlace, piece: int, stored: Bytes, into: Bytes) -> None:
        """Raises PayloadDamaged where this is not the piece that was written for the place."""
        try:
            self._aead.decrypt_into(place.nonce(piece), stored, place.associated(piece), into)
        except InvalidTag:
            raise PayloadDamaged(f"{place.what} is not what was encrypted") from None


class EncryptedPieces(Pieces):
    """The content of a frame of several pieces, encrypted again each time that it is gone through.

    So it is not held twice. Encrypting it twice takes less time than new memory for all of it would.
    """

    def __init__(self, cipher: PayloadCipher, place: FramePlace, content: memoryview) -> None:
        self.total_bytes = place.stored_bytes
        self._cipher = cipher
        self._place = place
        self._content = content

    def __iter__(self) -> "Iterator[Buffer]":
        for piece in range(self._place.pieces):
            start, stop = self._place.stored_of(piece)
            before = self._place.prelude if piece == 0 else b""
            made = bytearray(len(before) + stop - start)
            made[: len(before)] = before
            with memoryview(made) as view:
                self._cipher.encrypt_piece(self._place, piece, self._content, view[len(before) :])
            yield made


class DecryptedFrame:
    """A `CheckedFrame` over what is stored of a frame, of which `read` gives the bytes from one place to another."""

    def __init__(
        self,
        cipher: PayloadCipher,
        kind: FrameKind,
        ordinal: int,
        stored_bytes: int,
        read: Callable[[int, int], Bytes],
    ) -> None:
        """Raises PayloadDamaged where it cannot be an encrypted frame; no piece was looked at then."""
        if stored_bytes < PRELUDE.size:
            raise PayloadDamaged(f"the stored {kind.name.lower()} {ordinal} is not encrypted")
        self._place = FramePlace(kind, ordinal, bytes(read(0, PRELUDE.size)))
        if self._place.stored_bytes != stored_bytes:
            raise PayloadDamaged(f"{self._place.what} does not have the length that was encrypted")
        self.total_bytes = self._place.content_bytes
        self.flags = self._place.flags
        self.what = self._place.what
        self._cipher = cipher
        self._read = read

    def require_whole(self) -> None:
        """Goes through all of it, with one piece in memory. Raises PayloadDamaged, PayloadUnavailable."""
        for piece in range(self._place.pieces):
            self._piece(piece)

    def read(self, start: int, stop: int) -> bytes:
        stop = min(stop, self.total_bytes)
        if start >= stop:
            return b""
        first, last = start // PIECE_BYTES, (stop - 1) // PIECE_BYTES
        whole = b"".join(self._piece(piece) for piece in range(first, last + 1))
        begin = first * PIECE_BYTES
        return whole if len(whole) == stop - start else whole[start - begin : stop - begin]

    def content(self) -> bytes:
        """All of it, which is held once."""
        if self._place.pieces == 1:
            return bytes(self._piece(0))
        made = io.BytesIO()
        made.seek(self.total_bytes - 1)
        made.write(b"\0")  # now it has its length, so that it is never copied to grow
        with made.getbuffer() as view:
            for piece in range(self._place.pieces):
                self._decrypt(piece, slice_of(view, self._place.content_of(piece)))
        return made.getvalue()  # CPython hands out what it holds

    def _piece(self, piece: int) -> bytearray:
        start, stop = self._place.content_of(piece)
        made = bytearray(stop - start)
        self._decrypt(piece, made)
        return made

    def _decrypt(self, piece: int, into: Bytes) -> None:
        self._cipher.decrypt_piece(self._place, piece, self._read(*self._place.stored_of(piece)), into)


def slice_of(view: memoryview, place: tuple[int, int]) -> memoryview:
    return view[place[0] : place[1]]
