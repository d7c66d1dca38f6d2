"""In the comparison with ijson both sides find the same. That it runs is tested with all others (`test_benchmarks_smoke.py`)."""

from benchmarks.scan_ratio import in_pieces, read_with_ijson, request_body, scan


def test_both_sides_find_all():
    pieces = in_pieces(request_body(9, 3_000), 1_000)
    assert {len(piece) for piece in pieces[:-1]} == {1_000}
    assert scan(pieces) == read_with_ijson(pieces) == (9, 27_000)
