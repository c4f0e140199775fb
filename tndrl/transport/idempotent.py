"""Which methods may be called in early data (0-RTT): those that may run twice without harm (RFC 9001 section 9.2)."""

from __future__ import annotations

from collections.abc import Iterable

from tndrl.errors import UsageError
from tndrl.transport.stream_type import StreamType

_KNOWN: dict[int, frozenset[str]] = {
    StreamType.CONTROL: frozenset(
        {"/tndrl.v1.ControlService/Ping", "/tndrl.v1.ControlService/GetStatus"},
    ),
    StreamType.A2A: frozenset(
        {
            "/lf.a2a.v1.A2AService/GetExtendedAgentCard",
            "/lf.a2a.v1.A2AService/GetTask",
            "/lf.a2a.v1.A2AService/ListTasks",
            "/a2a.v1.A2AService/GetAgentCard",
            "/a2a.v1.A2AService/GetTask",
        }
    ),
}


def idempotent_methods(stream_type: int, declared: Iterable[str] = ()) -> frozenset[str]:
    """Return the methods of ``stream_type`` that are idempotent: those of this project's services, and ``declared``.

    Raises UsageError for a name that is not written as ``/package.Service/Method``.
    """
    for name in declared:
        if name.count("/") != 2 or not name.startswith("/") or name.endswith("/"):
            raise UsageError(f"'{name}' names no method; write it as /package.Service/Method")
    return _KNOWN.get(stream_type, frozenset()) | frozenset(declared)
