"""The composition root: the only place that constructs the parts of a process and connects them.

`parts` makes what several processes have, `worker`, `signer` and `entries` make one process each, and `__main__` starts them.
Modules that only one kind of process needs are imported where that process is built. So the signer loads no HTTP server.
"""
