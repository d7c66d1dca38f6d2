"""The table of metrics, from their declarations."""

from docs.generator.texts import code, plain, table

from batchseal.system.telemetry.declared import DECLARED


def metrics() -> str:
    """One row for each metric."""
    rows = [
        [code(one.name), one.kind.value, ", ".join(map(code, one.labels)), plain(one.help)] for one in DECLARED.values()
    ]
    return table(["name", "type", "labels", "what it says"], rows)
