"""A call that is not let in: what its caller is told, and when it may come again."""

from __future__ import annotations

from dataclasses import dataclass

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

SOON = 1.0
"""Seconds after which it is worth trying again, where nobody can know."""


@dataclass(frozen=True)
class Refusal:
    """A status for a call. ``retry_after`` is in seconds; None means that trying again is of no use."""

    code: grpc.StatusCode
    reason: str
    retry_after: float | None = None

    def trailers(self) -> tuple[tuple[str, bytes], ...]:
        """Return the trailing metadata that says when to try again (google.rpc.RetryInfo), none without."""
        if self.retry_after is None:
            return ()
        delay = Duration()
        delay.FromNanoseconds(int(self.retry_after * 1e9))
        detail = Any()
        detail.Pack(RetryInfo(retry_delay=delay))
        status = Status(code=self.code.value[0], message=self.reason, details=[detail])
        return (("grpc-status-details-bin", status.SerializeToString()),)
