"""Who calls, and what a call says beside its message."""

from __future__ import annotations

from pathlib import Path

import pytest
from a2a.utils.errors import InvalidParamsError, VersionNotSupportedError

from pki.spiffe import SpiffeId
from tndrl.agent.context import A2A_VERSION, AFTER_SEQUENCE, CallContextBuilder, SpiffeUser
from tndrl.errors import UsageError
from tndrl.transport import registry
from tndrl.transport.registry import PeerIdentity

ALICE = "spiffe://tndrl/node/alice"


class Call:
    """What the builder asks of a gRPC context."""

    def __init__(self, path: str, *metadata: tuple[str, str | bytes]) -> None:
        self._path = path
        self._metadata = metadata

    def peer(self) -> str:
        return f"unix:{self._path}"

    def invocation_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        return self._metadata


@pytest.fixture
def alice(short_dir: Path):
    """Yield the name of a connection that Alice has proven to be hers."""
    path = registry.register(short_dir, PeerIdentity(SpiffeId.parse(ALICE), "127.0.0.1:1"))
    yield path
    registry.unregister(path)


def test_the_caller_owns(alice: str) -> None:
    """The user is the verified SPIFFE ID, whatever the metadata says."""
    built = CallContextBuilder("1.0").build(Call(alice, ("x-user", "bob"), ("authorization", "bob")))
    assert (built.user.user_name, built.user.is_authenticated) == (ALICE, True)
    assert repr(built.user) == f"<SpiffeUser {ALICE}>"
    assert isinstance(built.user, SpiffeUser)


def test_nobody_is_let_in() -> None:
    """A connection that nobody has proven anything about has no user at all."""
    with pytest.raises(UsageError):
        CallContextBuilder("1.0").build(Call("/nowhere"))


def test_the_grpc_context_is_not_kept(alice: str) -> None:
    """A task outlives its call, whose context is freed memory then."""
    call = Call(alice)
    built = CallContextBuilder("0.3").build(call)
    assert built.state == {A2A_VERSION: "0.3"}
    assert call not in built.state.values()


def test_extensions(alice: str) -> None:
    """Extensions that the caller asks for are handed on."""
    built = CallContextBuilder("1.0").build(Call(alice, ("a2a-extensions", "urn:a, urn:b")))
    assert built.requested_extensions == {"urn:a", "urn:b"}


@pytest.mark.parametrize("version", ["1.0", "0.3"])
@pytest.mark.parametrize("said", ["", "{}", "{}.7"])
def test_versions_that_fit(alice: str, version: str, said: str) -> None:
    """The service's own version is taken, with any patch number, and so is a caller that names none."""
    call = Call(alice, ("A2A-Version", said.format(version)))
    assert CallContextBuilder(version).build(call).state[A2A_VERSION] == version


@pytest.mark.parametrize("said", ["9.9", "1", "0.3", "1.1", "\x1b[2J", b"\xff"])
def test_versions_that_do_not(alice: str, said: str | bytes) -> None:
    """Another version is refused, and shown escaped."""
    with pytest.raises(VersionNotSupportedError) as raised:
        CallContextBuilder("1.0").build(Call(alice, ("a2a-version", said)))
    assert raised.value.message.isprintable()
    assert raised.value.message.isascii()


def test_the_last_event_seen(alice: str) -> None:
    """The number after which a subscription goes on is read, and absent if there is none."""
    call = Call(alice, ("tndrl-after-sequence", "17"))
    assert CallContextBuilder("1.0").build(call).state[AFTER_SEQUENCE] == 17
    assert AFTER_SEQUENCE not in CallContextBuilder("1.0").build(Call(alice)).state


@pytest.mark.parametrize("said", ["", "-1", "1.5", "x", "1" * 19, "\u0661"])
def test_no_number(alice: str, said: str) -> None:
    """What is no number of an event is refused."""
    with pytest.raises(InvalidParamsError, match="tndrl-after-sequence"):
        CallContextBuilder("1.0").build(Call(alice, ("tndrl-after-sequence", said)))
