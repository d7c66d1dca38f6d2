"""What an instance does by itself, in its signer process, one file for each duty. `rounds` calls them.

Duties keep the books of admission true, remove what nobody needs any more, and chain the audit trail. An operation that is
unfinished is never touched.
"""
