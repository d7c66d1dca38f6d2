"""Trees of any number of documents: the record of each document verifies, and that of no other one does."""

import hashlib
import random

import pytest
from asn1crypto import tsp
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.evidence_records import read_record, root_of, verify
from tests.support.small_pki import SmallPki

from batchseal.formats.evidence_record import DigestTree, evidence_record

PKI = SmallPki()
MOST = 5_000


def digests(count: int, seed: int) -> list[bytes]:
    return [hashlib.sha256(b"%d %d" % (seed, number)).digest() for number in range(count)]


@settings(max_examples=40, deadline=None)
@given(st.one_of(st.integers(1, 70), st.integers(1, MOST)), st.integers(0, 1 << 32), st.randoms(use_true_random=False))
def test_every_leaf_leads_to_the_root_and_no_other_digest_does(count, seed, chosen):
    leaves = digests(count, seed)
    tree = DigestTree(leaves)
    for leaf in leaves if count < 300 else chosen.sample(leaves, 100):
        lists = tree.reduced(leaf)
        assert root_of(lists, leaf) == tree.root
        # A list of one digest in the first place, or of none anywhere, is read in two ways.
        assert all(nodes == sorted(nodes) and len(nodes) == 1 + (not place) for place, nodes in enumerate(lists))
        assert len(lists) <= (count - 1).bit_length()
        wrong = bytes(chosen.getrandbits(8) for _ in range(32))
        with pytest.raises(KeyError):
            tree.reduced(wrong)
        if lists:
            with pytest.raises(ValueError, match="another document"):
                root_of(lists, wrong)
        changed = [list(nodes) for nodes in lists]
        if changed:
            nodes = chosen.choice(changed)
            place = chosen.randrange(len(nodes))
            nodes[place] = bytes(byte ^ (1 << chosen.randrange(8)) for byte in nodes[place])
            assert leaf not in changed[0] or root_of(changed, leaf) != tree.root


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=40))
def test_documents_with_equal_digests_share_a_leaf(numbers):
    leaves = [hashlib.sha256(b"%d" % number).digest() for number in numbers]
    tree = DigestTree(leaves)
    assert tree.root == DigestTree(list(dict.fromkeys(leaves))).root
    assert all(root_of(tree.reduced(leaf), leaf) == tree.root for leaf in leaves)


def test_a_tree_of_the_most_leaves_has_thirteen_levels_and_a_record_of_a_few_hundred_bytes_beside_its_token():
    leaves = digests(MOST, 1)
    tree = DigestTree(leaves)
    token = PKI.token(tree.root)
    sizes = {len(evidence_record(tree, leaf, token)) - len(token) for leaf in leaves}
    assert max(sizes) < 13 * 36 + 34 + 64
    assert all(root_of(tree.reduced(leaf), leaf) == tree.root for leaf in leaves)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 9, 100])
def test_the_record_of_each_document_verifies_and_that_of_another_does_not(count):
    documents = [random.Random(number).randbytes(100 + number) for number in range(count)]
    tree = DigestTree([hashlib.sha256(one).digest() for one in documents])
    token = PKI.token(tree.root)
    for number, document in enumerate(documents):
        record = evidence_record(tree, hashlib.sha256(document).digest(), token)
        found = verify(record, document, PKI.root.der)
        assert found.token == token and isinstance(found.info, tsp.TSTInfo)
        assert read_record(record)[1].dump() == token
        for wrong in (document + b".", document[:-1], documents[number - 1]):
            # The partner of a leaf stands in the same list, and is in the tree too.
            if hashlib.sha256(wrong).digest() not in (found.lists or [[hashlib.sha256(document).digest()]])[0]:
                with pytest.raises(ValueError, match="another"):
                    verify(record, wrong)


def test_a_tree_has_leaves_that_are_digests():
    for wrong in ([], [b"short"], [bytes(33)]):
        with pytest.raises(ValueError, match="digests"):
            DigestTree(wrong)
