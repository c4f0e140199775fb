"""What a call that is refused is told."""

from __future__ import annotations

from typing import Any

import grpc.aio
from google.rpc import error_details_pb2
from grpc_status import rpc_status


def retry_delay(error: grpc.aio.AioRpcError) -> float:
    """Return after how many seconds a refused call may be tried again (google.rpc.RetryInfo)."""
    status = rpc_status.from_call(error)
    assert status is not None, error
    return delay_of(status.details[0])


def delay_of(detail: Any) -> float:
    """Return the seconds of a status's detail."""
    info = error_details_pb2.RetryInfo()
    assert detail.Unpack(info)
    return info.retry_delay.ToNanoseconds() / 1e9
