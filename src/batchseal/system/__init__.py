"""General helpers that know nothing of documents, operations or HTTP: the disk, processes, waiting, messages.

Every other module may import from here, and nothing here imports another module of the service.
"""
