"""The agent of one node, on its gRPC server."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from pki.spiffe import SpiffeId
from support import nodes
from support.agents import Acting, Puppet
from tndrl.agent import service
from tndrl.agent.service import AgentService
from tndrl.errors import ConfigError
from tndrl.transport.gate import CallGate

WHO = SpiffeId.parse("spiffe://tndrl/node/a")


def made(folder: Path, executor: Any = None, **flags: object) -> AgentService:
    """Return the service of a node whose files are below ``folder``."""
    return AgentService(nodes.config(folder, **flags), WHO, "127.0.0.1:1", folder, executor)


async def test_the_provider_lives_as_long(short_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The provider of the configuration is made when the service is entered, and closed when it is left."""
    closed = []

    class Closing(Puppet):
        async def aclose(self) -> None:
            closed.append(True)

    monkeypatch.setattr(service, "make_provider", lambda _config: Closing())
    async with made(short_dir) as entered:
        assert (entered.running, entered.total, closed) == (0, 0, [])
    assert closed == [True]


async def test_its_database(short_dir: Path) -> None:
    """Tasks are kept in the state directory, in a file that only its owner reads."""
    async with made(short_dir, llm__provider="echo"):
        assert (short_dir / "agent.db").stat().st_mode & 0o777 == 0o600


async def test_nothing_is_left_of_what_failed(short_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was made before something else failed is closed."""
    closed = []

    class Closing(Puppet):
        async def aclose(self) -> None:
            closed.append(True)

    monkeypatch.setattr(service, "make_provider", lambda _config: Closing())
    with pytest.raises(ConfigError):
        await made(short_dir, agent__store="nonsense").__aenter__()
    assert closed == [True]


async def test_before_it_is_entered(short_dir: Path) -> None:
    """A service that has not been entered runs nothing, and its card is there."""
    one = made(short_dir, Acting(None))
    assert (one.running, one.total, one.card.name) == (0, 0, "a")


async def test_its_server(short_dir: Path) -> None:
    """It is entered and left on the loop of its gRPC server, in a thread of its own."""
    seen = []

    class Noting(AgentService):
        async def __aenter__(self) -> Any:
            seen.append(threading.current_thread().name)
            return await super().__aenter__()

        async def __aexit__(self, *error: object) -> None:
            seen.append(asyncio.get_running_loop())
            await super().__aexit__(*error)

    config = nodes.config(short_dir, llm__provider="echo")
    server = Noting(config, WHO, "127.0.0.1:1", short_dir).server(short_dir / "s", CallGate(), 1000)
    await server.start()
    await server.stop()
    assert seen[0] == "tndrl agent"
    assert seen[1] is not asyncio.get_running_loop()


async def test_a_server_that_cannot_start(short_dir: Path) -> None:
    """What keeps the service from being entered is raised where its server is started."""
    one = made(short_dir, llm__provider="echo", agent__store="nonsense")
    server = one.server(short_dir / "s", CallGate(), 1000)
    with pytest.raises(ConfigError, match=r"agent\.store"):
        await server.start()
    await server.stop()
