"""aioquic's log, moved to where it does no harm.

aioquic warns of what we report better, once and with the address, and repeats a peer's words as they came: a reason
phrase with a line feed would forge lines of our log.
"""

from __future__ import annotations

import logging
from typing import Any

from aioquic.quic.connection import QuicConnectionAdapter

from pki.errors import shown

logger = logging.getLogger("tndrl.aioquic")


class QuietLog(QuicConnectionAdapter):
    """Takes what aioquic logs of one connection, at DEBUG whatever it was, escaped and shortened."""

    def __init__(self, connection_id: bytes) -> None:
        super().__init__(logger, {"id": connection_id.hex()})

    def log(self, level: int, msg: object, *args: object, **options: Any) -> None:
        """Log one message."""
        if self.logger.isEnabledFor(logging.DEBUG):
            text = str(msg) % args if args else str(msg)
            self.logger.debug("[%s] %s", (self.extra or {})["id"], shown(text))
