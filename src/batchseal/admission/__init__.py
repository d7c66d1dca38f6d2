"""Decides, before the body of a request is read, whether there is enough temporary space, memory and room in the queue for it.

All workers of an instance book what they reserve in one `Ledger`. A request that does not fit is refused. One that was admitted
is never ended in favour of another one.
"""
