# cython: freethreading_compatible=True, autotestdict=False, auto_pickle=False
"""What the planner and its callers tell each other of encrypted PDFs (ISO 32000-2 7.6)."""

cimport cython


# How strings or streams are encrypted; the place in the tuple is the value of pdf_method.
ENCRYPTION_METHODS = ("none", "RC4", "AES-128", "AES-256")
KEY_BYTES = {"none": (0, 32), "RC4": (5, 16), "AES-128": (16, 16), "AES-256": (32, 32)}
# The bits of /P that people know by name (ISO 32000-2 7.6.4.2, table 22; its bits count from 1).
RESTRICTIONS = (
    *((1 << 2, "printing"), (1 << 3, "editing"), (1 << 4, "copying"), (1 << 5, "comments and form entries")),
    (1 << 10, "inserting and turning pages"),
)


@cython.final
@cython.dataclasses.dataclass(frozen=True)
cdef class Encryption:
    """What an encrypted document says of itself: what its file key is derived from (ISO 32000-2 7.6.4).

    `version`, `revision` and `key_bits` are /V, /R and /Length, `permissions` is /P as 32 bits. `strings` and `streams` are of
    ENCRYPTION_METHODS. The entries /O, /U, /OE, /UE and /Perms, and the first element of /ID, are empty where they are absent.
    """

    version: int
    revision: int
    key_bits: int
    permissions: int
    encrypts_metadata: bool
    strings: str
    streams: str
    owner: bytes
    user: bytes
    owner_key: bytes
    user_key: bytes
    confirmed_permissions: bytes
    file_id: bytes


@cython.final
@cython.dataclasses.dataclass(frozen=True)
cdef class FileKey:
    """The key of an encrypted document, with the methods of its Encryption.

    It has 5 to 16 bytes, 16 with AES-128, 32 with AES-256. All initialization vectors follow from the 16 bytes of `seed`, so
    these must be random and used for one document only.
    """

    key: bytes
    strings: str
    streams: str
    seed: bytes
