"""Evidence records (RFC 4998): one time stamp that proves when many documents existed, each of them alone.

The digests of the documents are the leaves of a tree of digests, and an authority stamps its root. The record of one document
holds the stamp and the digests that lead from its own leaf to the root, about 12 for 2,500 documents. It tells nothing else of
the other documents.
"""

from collections.abc import Iterator, Sequence
from hashlib import sha256

from batchseal.errors import ItemRejected
from batchseal.formats.der import CONTEXT_0, OCTET_STRING, SEQUENCE, tlv

DIGEST_BYTES = 32
MEDIA_TYPE, SUFFIX = "application/octet-stream", ".ers"  # no media type was ever registered for a record
VERSION_1 = b"\x02\x01\x01"
# RFC 5754 2: an AlgorithmIdentifier of SHA-256 has no parameters.
SHA_256 = bytes.fromhex("0609608648016503040201")
REDUCED_HASHTREE = b"\xa2"  # [2] IMPLICIT of ArchiveTimeStamp


# What a tree and the digests that it is made of take for each document, and for each operation: as much was measured.
TREE_DOCUMENT_BYTES, TREE_BYTES = 400, 64 << 10


def tree_bytes(documents: int) -> int:
    """The memory that the tree of so many documents takes, with their digests and ordinals."""
    return TREE_BYTES + documents * TREE_DOCUMENT_BYTES


class DigestTree:
    """A tree over SHA-256 digests (RFC 4998 4.2). Equal digests are one leaf, since they need one record only.

    The nodes of a level are taken two at a time. The digest of a node is that of its two children, joined in ascending order. A
    last one without a partner is a node of the next level as it is: so no level has a node with one child, which implementations
    read in two ways.
    """

    def __init__(self, digests: Sequence[bytes]) -> None:
        """At least one digest, each of DIGEST_BYTES bytes."""
        leaves = list(dict.fromkeys(digests))
        if not leaves or any(len(leaf) != DIGEST_BYTES for leaf in leaves):
            raise ValueError(f"a tree needs digests of {DIGEST_BYTES} bytes")
        self._places = {leaf: place for place, leaf in enumerate(leaves)}
        # A level is one byte string, since a list of digests takes three times as much.
        self._levels = [b"".join(leaves)]
        while len(self._levels[-1]) > DIGEST_BYTES:
            self._levels.append(b"".join(_parents(self._levels[-1])))

    @property
    def root(self) -> bytes:
        """What the time stamp is about."""
        return self._levels[-1]

    def reduced(self, digest: bytes) -> list[list[bytes]]:
        """The reduced tree of one leaf: lists of digests in ascending order (RFC 4998 4.2, PartialHashtree).

        The first list has the leaf itself and its partner, the others the partner of the node that the lists before give. Empty
        where the leaf is the root. Raises KeyError for a digest that is no leaf.
        """
        place, lists = self._places[digest], list[list[bytes]]()
        for level in self._levels[:-1]:
            begin = (place ^ 1) * DIGEST_BYTES
            if partner := level[begin : begin + DIGEST_BYTES]:
                lists.append([partner] if lists else sorted((digest, partner)))
            place >>= 1
        return lists


def _parents(level: bytes) -> Iterator[bytes]:
    for at in range(0, len(level), 2 * DIGEST_BYTES):
        one, other = level[at : at + DIGEST_BYTES], level[at + DIGEST_BYTES : at + 2 * DIGEST_BYTES]
        yield sha256(min(one, other) + max(one, other)).digest() if other else one


def evidence_record(tree: DigestTree, digest: bytes, token: bytes) -> bytes:
    """The EvidenceRecord (DER) of the document with this digest. `token` (DER) is the time stamp over the root of the tree.

    It is one ArchiveTimeStamp: whoever renews it later adds others (RFC 4998 5). Raises KeyError for a digest that is no leaf.
    """
    reduced = b""
    if lists := tree.reduced(digest):
        partial = (tlv(SEQUENCE, *(tlv(OCTET_STRING, one) for one in nodes)) for nodes in lists)
        reduced = tlv(REDUCED_HASHTREE, *partial)
    stamp = tlv(SEQUENCE, tlv(CONTEXT_0, SHA_256), reduced, token)
    sequence = tlv(SEQUENCE, tlv(SEQUENCE, stamp))  # ArchiveTimeStampSequence of one ArchiveTimeStampChain
    return tlv(SEQUENCE, VERSION_1, tlv(SEQUENCE, tlv(SEQUENCE, SHA_256)), sequence)


def split(digests: bytes) -> list[bytes]:
    """The digests in a byte string that holds one after the other. Raises ItemRejected where it does not."""
    if len(digests) % DIGEST_BYTES:
        raise ItemRejected(f"{len(digests)} bytes hold no whole number of digests")
    return [digests[at : at + DIGEST_BYTES] for at in range(0, len(digests), DIGEST_BYTES)]
