"""The native boundary: thin Cython modules over the C in ext/. No I/O; the GIL is released around every kernel."""
