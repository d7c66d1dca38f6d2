"""Finds a word in a PDF, for a visible signature that stands where the word does (PLACEHOLDER of the contract).

PDFium reads the documents. They come from anybody, and a reader of them may hang, crash or take all memory. So it runs apart:

    worker, signer ──socket──► keeper ──► searcher
      finder.py                keeper.py    search.py

The supervisor holds the socket and starts the keeper when somebody first connects (`processes/on_demand.py`). The keeper never
looks into a document. It queues them, gives each client service its share of the time, and forks a searcher, which it kills at
its limits and forks again. A document on which a searcher dies twice is refused; the documents of others only wait a moment
longer. The keeper ends when it has had nothing to do for a while.

A document comes as a sealed memfd, so it is copied once and never through a pipe. Whoever sends it books `memory_needed` for
it: the copy, and the most that a searcher may take (its limit of address space). `wire` has what both sides agree on.
"""
