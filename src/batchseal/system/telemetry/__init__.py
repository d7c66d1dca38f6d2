"""What an operator can see of a running service from outside: metrics, log lines and traces.

`declared.py` lists every metric with its help, type and labels; `meter.py` counts in the signer; `exposition.py` writes what was
counted in the text format of Prometheus. `logs.py` gives each process its log, `syslog.py` sends it to a server over TLS,
`events.py` writes what matters for security. `context.py` says which request or operation a task works for. `tracing.py` makes
spans; without a collector they are nothing, and `otel.py` with its packages is not loaded.

Nothing here knows documents, the database or HTTP.
"""
