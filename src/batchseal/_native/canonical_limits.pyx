# cython: auto_pickle=False, autotestdict=False
"""What an XML document may have so that it is signed, and how a refusal shows the limit that it is about."""

from dataclasses import dataclass


@dataclass(frozen=True)
class CanonicalLimits:
    """What a document may have.

    `attributes` are those of one element, `namespaces` those declared at the same time, `nodes` all elements and attributes, and
    `further_nodes` all texts, CDATA sections, comments, processing instructions and namespace declarations.
    `attribute_namespaces` are those of all attributes that stand beside one of another namespace. `tag_bytes` is the length of a
    tag, comment or processing instruction. The canonical form has at most `output_bytes`, and at most `output_factor` bytes for
    each byte of the document; one of less than 256 bytes counts as that long. The invoices that we know have at most 2.1.
    `memory_bytes` bounds what the C code holds of one document beside its canonical form.
    """

    depth: int = 256
    attributes: int = 1_000
    namespaces: int = 1_000
    nodes: int = 500_000
    further_nodes: int = 1_500_000
    attribute_namespaces: int = 1_000
    tag_bytes: int = 1 << 20
    output_bytes: int = 1 << 30
    output_factor: int = 16
    memory_bytes: int = 2 << 20


# The limit that a refusal is about, by its code.
NAMES = {
    "limit_depth": "depth",
    "limit_attributes": "attributes",
    "limit_namespaces": "namespaces",
    "limit_nodes": "nodes",
    "limit_further_nodes": "further_nodes",
    "limit_attribute_namespaces": "attribute_namespaces",
    "limit_tag": "tag_bytes",
    "limit_output": "output_bytes",
    "limit_factor": "output_factor",
    "limit_memory": "memory_bytes",
}
IN_BYTES = frozenset({"limit_tag", "limit_output", "limit_memory"})


def shown_limit(limits: CanonicalLimits, code: str) -> str:
    """Returns the limit that a refusal with this code is about, as a person reads it; nothing for other refusals."""
    if code not in NAMES:
        return ""
    limit = getattr(limits, NAMES[code])
    if code not in IN_BYTES:
        return str(limit)
    return f"{limit >> 20} MB" if limit >= 1 << 20 else f"{limit} bytes"
