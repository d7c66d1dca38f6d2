"""The request body that is made while it is sent: its content, its length, and how documents are divided into batches."""

import base64
import json
from pathlib import Path

import pytest

from batchseal.client.batch import (
    FILE_PIECE_BYTES,
    BatchBody,
    Document,
    Wishes,
    document_reference,
    find_documents,
    split_batches,
)
from batchseal.errors import ConfigurationError


def make(folder: Path, **sizes: int) -> list[Path]:
    paths = []
    for stem, size in sizes.items():
        paths.append(folder / f"{stem}.pdf")
        paths[-1].write_bytes(bytes(i * 7 & 255 for i in range(size)))
    return paths


@pytest.mark.parametrize(
    "size",
    [0, 1, 2, 3, *(FILE_PIECE_BYTES + more for more in (-1, 0, 1)), 2 * FILE_PIECE_BYTES + 2],
)
def test_the_body_is_json_of_the_announced_length(tmp_path: Path, size: int) -> None:
    documents = find_documents(make(tmp_path, a=size, b=5))
    body = BatchBody(documents, 'FT 2026/5 "x" ç', "A description", Wishes("Reason", "Lisboa"))
    text = b"".join(body)
    assert len(text) == body.total_bytes
    request = json.loads(text)
    assert request["externalReference"] == 'FT 2026/5 "x" ç'
    assert request["description"] == "A description"
    first = request["documents"][0]
    assert base64.b64decode(first["documentRequest"]["base64Content"], validate=True) == documents[0].path.read_bytes()
    assert first["documentRequest"]["name"] == "a.pdf"
    assert first["documentRequest"]["externalReference"] == "00000-a.pdf"
    assert first["signatureInfo"] == {"signatureType": "PAdES", "reason": "Reason", "location": "Lisboa"}
    assert [d["documentRequest"]["name"] for d in request["documents"]] == ["a.pdf", "b.pdf"]


def test_a_body_can_be_sent_again(tmp_path: Path) -> None:
    body = BatchBody(find_documents(make(tmp_path, a=10)), "r", "d")
    assert b"".join(body) == b"".join(body)


def test_no_piece_is_larger_than_a_piece(tmp_path: Path) -> None:
    body = BatchBody(find_documents(make(tmp_path, a=3 * FILE_PIECE_BYTES)), "r", "d")
    assert max(map(len, body)) <= FILE_PIECE_BYTES // 3 * 4


def test_a_file_that_shrinks_is_noticed(tmp_path: Path) -> None:
    (path,) = make(tmp_path, a=FILE_PIECE_BYTES * 2)
    body = BatchBody(find_documents([path]), "r", "d")
    path.write_bytes(b"short")
    with pytest.raises(ConfigurationError, match="became shorter"):
        list(body)


def test_folders_stand_for_their_pdf_files_in_order(tmp_path: Path) -> None:
    make(tmp_path, b=1, a=1)
    (tmp_path / "c.PDF").write_bytes(b"1")
    (tmp_path / "d.txt").write_bytes(b"1")
    (tmp_path / "e.pdf").mkdir()
    with pytest.raises(ConfigurationError, match=r"e\.pdf"):
        find_documents([tmp_path])
    (tmp_path / "e.pdf").rmdir()
    assert [d.name for d in find_documents([tmp_path])] == ["a.pdf", "b.pdf", "c.PDF"]


def test_a_folder_without_pdf_files_is_told_how_others_are_signed(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_bytes(b"<a/>")
    with pytest.raises(ConfigurationError, match=r"no PDF file in .*; --signature-type=XAdES"):
        find_documents([tmp_path])
    with pytest.raises(ConfigurationError, match="does not exist"):
        find_documents([tmp_path / "b.pdf"])


def test_equal_names_become_unique(tmp_path: Path) -> None:
    for folder in ("x", "y", "z"):
        (tmp_path / folder).mkdir()
        make(tmp_path / folder, a=1)
    (tmp_path / "z" / "a-2.pdf").write_bytes(b"1")
    names = [d.name for d in find_documents([tmp_path / "z" / "a-2.pdf", tmp_path / "x", tmp_path / "y", tmp_path / "z"])
             if d.path.name == "a.pdf"]  # fmt: skip
    assert len(set(names)) == 3
    assert "a-2.pdf" not in names


@pytest.mark.parametrize("paths", [["missing.pdf"], ["."]])
def test_nothing_to_sign_is_an_error(tmp_path: Path, paths: list[str]) -> None:
    with pytest.raises(ConfigurationError):
        find_documents([tmp_path / path for path in paths])


def test_references_are_short_and_begin_with_the_ordinal() -> None:
    long = Document(Path("x"), "n" * 255, 1)
    assert document_reference(7, long).startswith("00007-n")
    assert len(document_reference(7, long)) == 255


def test_batches_keep_the_order_and_the_limits() -> None:
    documents = [Document(Path(str(n)), str(n), size) for n, size in enumerate([5, 5, 1, 20, 1, 1, 1, 1])]
    batches = split_batches(documents, max_documents=3, max_bytes=10)
    assert [document for batch in batches for document in batch] == documents
    assert [[d.size for d in batch] for batch in batches] == [[5, 5], [1], [20], [1, 1, 1], [1]]
