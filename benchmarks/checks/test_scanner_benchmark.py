"""The comparison with ijson runs, and both sides find the same; how fast is for `make bench` to say."""

from benchmarks.scan_ratio import in_pieces, measure, read_with_ijson, request_body, scan


def test_smoke():
    figures = measure(documents=20, document_bytes=5_000, rounds=1)
    assert figures["scan_over_ijson"] > 0
    assert {"scan_body_mb", "ijson_gb_per_s", "scan_portable_gb_per_s"} <= figures.keys()


def test_both_sides_find_all():
    pieces = in_pieces(request_body(9, 3_000), 1_000)
    assert {len(piece) for piece in pieces[:-1]} == {1_000}
    assert scan(pieces) == read_with_ijson(pieces) == (9, 27_000)
