"""Evidence records as Bouncy Castle reads them."""

import hashlib
from pathlib import Path

import pytest
from harness.validators import judging
from harness.validators.ers import bouncy_castle_judges
from tests.support.small_pki import SmallPki

from batchseal.errors import ItemRejected
from batchseal.formats.evidence_record import DigestTree, evidence_record, split

COUNTS = (1, 2, 3, 4, 5, 6, 7, 33)


def test_bouncy_castle_takes_the_record_of_each_document_and_of_no_other(tmp_path: Path) -> None:
    pki, pairs, right, roots = SmallPki(), list[tuple[Path, Path]](), list[bool](), list[bytes]()
    depths = list[int]()
    for count in COUNTS:
        documents = [b"document %d of %d" % (number, count) for number in range(count)]
        digests = [hashlib.sha256(one).digest() for one in documents]
        tree = DigestTree(digests)
        token = pki.token(tree.root)
        for number, document in enumerate(documents):
            record, content = tmp_path / f"{count}-{number}.ers", tmp_path / f"{count}-{number}"
            record.write_bytes(evidence_record(tree, digests[number], token))
            content.write_bytes(document)
            other = tmp_path / f"{count}-{number}-changed"
            other.write_bytes(document + b" ")
            pairs += [(record, content), (record, other)]
            right += [True, False]
            roots += [tree.root, tree.root]
            depths += [len(tree.reduced(digests[number]))] * 2
    with judging():
        reports = bouncy_castle_judges(pairs)
    assert [one.problem for one in reports] == [""] * len(pairs)
    assert [one.is_about for one in reports] == right
    assert [one.root for one in reports] == roots
    assert [one.lists for one in reports] == depths
    assert all(one.is_stamped for one in reports)


def test_digests_are_split_only_where_they_are_whole() -> None:
    digests = [bytes([number]) * 32 for number in range(3)]
    assert split(b"".join(digests)) == digests and split(b"") == []
    with pytest.raises(ItemRejected):
        split(b"".join(digests)[:-1])
