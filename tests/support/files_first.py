"""A multipart body with the files before their description, so that reception cannot prepare them."""

import json
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

BOUNDARY = "files-first"


def files_first(request: dict[str, Any], contents: Sequence[bytes]) -> tuple[bytes, str]:
    """The body for a signRequest in JSON, with its contents as files; and its media type."""
    described = deepcopy(request)
    for document in described["documents"]:
        del document["documentRequest"]["base64Content"]
    files = [b'Content-Disposition: form-data; name="files"; filename="f"\r\n\r\n' + content for content in contents]
    last = b'Content-Disposition: form-data; name="signRequest"\r\n\r\n' + json.dumps(described).encode()
    line = f"--{BOUNDARY}".encode()
    made = b"".join(line + b"\r\n" + part + b"\r\n" for part in (*files, last)) + line + b"--\r\n"
    return made, f"multipart/form-data; boundary={BOUNDARY}"
