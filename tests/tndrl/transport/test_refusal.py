"""What the caller of a refused call is told."""

from __future__ import annotations

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from tndrl.transport.refusal import Refusal

EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("seconds", [0.0, 0.25, 1.0, 3600.5])
def test_it_says_when_to_come_again(seconds: float) -> None:
    """The trailers carry google.rpc.Status with one RetryInfo, as RFC-less as gRPC's richer error model wants it."""
    ((name, value),) = Refusal(EXHAUSTED, "too much", seconds).trailers()
    status, info = status_pb2.Status.FromString(value), error_details_pb2.RetryInfo()
    assert (name, status.code, status.message) == ("grpc-status-details-bin", 8, "too much")
    assert status.details[0].Unpack(info)
    assert info.retry_delay.ToNanoseconds() == seconds * 1e9


def test_it_does_not_where_that_is_of_no_use() -> None:
    """A refusal for good has no details."""
    assert Refusal(grpc.StatusCode.UNAUTHENTICATED, "who are you").trailers() == ()
