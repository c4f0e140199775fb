"""Methods that may be called in early data."""

from __future__ import annotations

import pytest
from a2a.compat.v0_3 import a2a_v0_3_pb2
from a2a.types import a2a_pb2

from tndrl.errors import UsageError
from tndrl.transport.idempotent import idempotent_methods
from tndrl.transport.stream_type import StreamType
from tndrl.v1 import control_pb2


@pytest.mark.parametrize(
    ("stream_type", "modules"),
    [(StreamType.CONTROL, [control_pb2]), (StreamType.A2A, [a2a_pb2, a2a_v0_3_pb2])],
)
def test_ours_are_methods_that_exist(stream_type: StreamType, modules: list[object]) -> None:
    """Each is a method of a service on that type, and its name says that it changes nothing."""
    services = [one for module in modules for one in module.DESCRIPTOR.services_by_name.values()]
    there = {f"/{service.full_name}/{method.name}" for service in services for method in service.methods}
    ours = idempotent_methods(stream_type)
    assert ours <= there
    assert all(name.rpartition("/")[2].startswith(("Ping", "Get", "List")) for name in ours)


def test_what_asks_only_is_declared() -> None:
    """A ping, the status, the card, and the get and list of tasks need not wait for the handshake."""
    assert idempotent_methods(StreamType.CONTROL) == {
        "/tndrl.v1.ControlService/Ping",
        "/tndrl.v1.ControlService/GetStatus",
    }
    agents = {name.rpartition("/")[2] for name in idempotent_methods(StreamType.A2A)}
    assert agents >= {"GetExtendedAgentCard", "GetAgentCard", "GetTask", "ListTasks"}


def test_users_declare_theirs() -> None:
    """A service of a user has those that it names, and no others."""
    assert idempotent_methods(0x10) == set()
    assert idempotent_methods(0x10, ["/x.Y/Z"]) == {"/x.Y/Z"}
    assert idempotent_methods(StreamType.CONTROL, ["/x.Y/Z"]) > {"/x.Y/Z"}


@pytest.mark.parametrize("name", ["", "Ping", "x.Y/Z", "/x.Y", "/x.Y/", "//", "/a/b/c"])
def test_a_name_that_is_none(name: str) -> None:
    """A mistake in writing a method's name is told at once: it would never match."""
    with pytest.raises(UsageError, match="names no method"):
        idempotent_methods(0x10, [name])
