"""Files whose bytes, and so whose SHA-256, depend on nothing but their content."""

from __future__ import annotations

import json


def sort_safetensors_header(blob: bytes) -> bytes:
    """The same safetensors file with its header in order: the library writes metadata in random order."""
    size = int.from_bytes(blob[:8], "little")
    header = json.dumps(json.loads(blob[8 : 8 + size]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + blob[8 + size :]
