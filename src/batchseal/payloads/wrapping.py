"""What stands around the payload store, as the settings ask."""

from pathlib import Path

from batchseal.payloads.interface import Payloads


def encrypted_with(key_file: str, payloads: Payloads) -> Payloads:
    """The store itself where `key_file` is empty, else the store with encryption by the keys in this file.

    Raises ConfigurationError where the file cannot be used.
    """
    if not key_file:
        return payloads
    # Imported here: a service that encrypts nothing does not load it.
    from batchseal.payloads.encrypted import EncryptedPayloads
    from batchseal.payloads.keys import KeyFile

    return EncryptedPayloads(payloads, KeyFile(Path(key_file)))
