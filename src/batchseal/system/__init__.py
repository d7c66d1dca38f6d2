"""General helpers that know nothing of documents, operations or HTTP: the disk, memory, processes, waiting, messages.

Every other package may import from here. Nothing here imports from another package of the service.
"""
