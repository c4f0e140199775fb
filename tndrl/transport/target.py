"""Whom to call."""

from __future__ import annotations

from dataclasses import dataclass

from pki.spiffe import SpiffeId


@dataclass(frozen=True)
class Target:
    """An address, and the identity expected there. Connections are shared by equal targets."""

    host: str
    port: int
    expected: SpiffeId | None = None
    """With it the certificate must say so and the host name does not matter; without, the host name must match."""

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
