"""What a call that is refused is told."""

from __future__ import annotations

import grpc.aio
from google.rpc import error_details_pb2
from grpc_status import rpc_status


def retry_delay(error: grpc.aio.AioRpcError) -> float:
    """Return after how many seconds a refused call may be tried again (google.rpc.RetryInfo)."""
    status, info = rpc_status.from_call(error), error_details_pb2.RetryInfo()
    assert status is not None, error
    assert status.details[0].Unpack(info)
    return info.retry_delay.ToNanoseconds() / 1e9
