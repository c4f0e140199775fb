"""Which datagram belongs to which session."""

from __future__ import annotations

from tndrl.transport.routes import Routes


def test_connection_ids_come_and_go() -> None:
    """A session is found by each of its connection IDs until that is retired."""
    routes: Routes[str] = Routes()
    routes.add(b"1", "a")
    routes.add(b"2", "a")
    assert (routes.of(b"1"), routes.of(b"2"), routes.of(b"3")) == ("a", "a", None)
    routes.remove(b"1")
    routes.remove(b"3")
    assert (routes.of(b"1"), routes.connection_ids("a")) == (None, {b"2"})


def test_a_forgotten_session_leaves_nothing() -> None:
    """Neither IDs nor tokens of it are known; those of others are."""
    routes: Routes[str] = Routes()
    for name in ("a", "b"):
        routes.add(name.encode(), name)
        routes.expect(name.encode(), name)
    routes.forget("a")
    routes.forget("a")
    assert (routes.of(b"a"), routes.reset_by(b"a"), routes.connection_ids("a")) == (None, None, frozenset())
    assert (routes.of(b"b"), routes.reset_by(b"b")) == ("b", "b")
    assert list(routes.sessions) == ["b"]


def test_only_the_last_token_counts() -> None:
    """A token of a connection ID that is no longer used resets nothing (RFC 9000 section 10.3.1)."""
    routes: Routes[str] = Routes()
    routes.add(b"1", "a")
    routes.expect(b"old", "a")
    routes.expect(b"new", "a")
    assert (routes.reset_by(b"old"), routes.reset_by(b"new")) == (None, "a")
