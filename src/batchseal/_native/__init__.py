"""Thin Cython modules over the C in ext/. They do no I/O, and they release the GIL while a kernel runs."""
