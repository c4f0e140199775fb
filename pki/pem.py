"""PEM files: blocks of base64 between BEGIN and END lines, with any other text around them (RFC 7468)."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----\s*?\n(.*?)-----END \1-----", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One block: its label (``CERTIFICATE``), its whole text, and what stands between the lines."""

    label: str
    text: bytes
    body: bytes

    @property
    def der(self) -> bytes:
        """The decoded content. Raises ``ValueError`` if it is not base64."""
        try:
            return base64.b64decode(b"".join(self.body.split()), validate=True)
        except binascii.Error as error:
            raise ValueError("not base64") from error


def blocks(data: bytes) -> list[Block]:
    """Return the blocks of a PEM file in order."""
    return [Block(found[1].decode("ascii"), found[0] + b"\n", found[2]) for found in _BLOCK.finditer(data)]


def certificates_der(data: bytes) -> list[bytes]:
    """Return the certificates of a PEM file, decoded but not parsed. Raises ``ValueError`` on broken base64."""
    return [block.der for block in blocks(data) if block.label == "CERTIFICATE"]
