"""The rules of the X509-SVID profile, and the TLS alert that each broken one deserves."""

from __future__ import annotations

from enum import Enum


class Usage(Enum):
    """The role in which a presented certificate must be usable."""

    SERVER = "server"
    CLIENT = "client"

    @property
    def opposite(self) -> Usage:
        """The role of the one who looks at the certificate."""
        return Usage.CLIENT if self is Usage.SERVER else Usage.SERVER
