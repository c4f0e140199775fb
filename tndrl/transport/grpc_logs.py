"""What grpcio logs because a peer wrote it: nothing, or any peer could fill the log with tracebacks."""

from __future__ import annotations

import logging


class _PeerNoise(logging.Filter):
    """Drops the error, traceback included, that grpcio logs for each header field that is not UTF-8."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is of any use."""
        return not str(record.msg).startswith("Invalid encoding on")


_PEER_NOISE = _PeerNoise()


def drop_peer_noise() -> None:
    """Install the filter in this process. Calling it again does nothing."""
    logging.getLogger("grpc._cython.cygrpc").addFilter(_PEER_NOISE)
