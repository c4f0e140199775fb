"""What grpcio logs because a peer wrote it: nothing, or any peer could fill the log with tracebacks."""

from __future__ import annotations

import logging

NOISE = ("Invalid encoding on", "ExecuteBatchError raised in core")
"""A header field that is not UTF-8; a call that its client broke off, or whose message cannot be read."""


class _PeerNoise(logging.Filter):
    """Drops the errors, tracebacks included, that grpcio logs for what is a peer's fault."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is of any use."""
        return not str(record.msg).startswith(NOISE)


_PEER_NOISE = _PeerNoise()


def drop_peer_noise() -> None:
    """Install the filter in this process. Calling it again does nothing."""
    logging.getLogger("grpc._cython.cygrpc").addFilter(_PEER_NOISE)
