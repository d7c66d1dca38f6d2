"""What a request may take of the temporary space, of memory and of the upstream queue, before its body is read.

All workers of an instance book in one `Ledger`. What does not fit is refused; what was admitted is never ended for another.
"""
