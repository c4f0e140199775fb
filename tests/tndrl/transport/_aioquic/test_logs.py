"""aioquic's own log: quiet, and safe to read."""

from __future__ import annotations

import logging
from inspect import signature

import pytest
from aioquic.quic.connection import QuicConnectionAdapter

from support import streams
from tndrl.transport._aioquic.logs import QuietLog


def test_everything_is_debug_and_escaped(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever level aioquic chose, a message is one printable line at DEBUG, with the connection's ID."""
    caplog.set_level(logging.DEBUG)
    log = QuietLog(b"\xab\xcd")
    log.warning("reason %s", "two\nlines \x1b[31m")
    log.error("100 %")
    assert [(r.levelname, r.name) for r in caplog.records] == [("DEBUG", "tndrl.aioquic")] * 2
    first, second = caplog.messages
    assert first.startswith("[abcd] reason two")
    assert first.isprintable()
    assert second == "[abcd] 100 %"


async def test_a_peers_words_forge_no_line(caplog: pytest.LogCaptureFixture) -> None:
    """A reason phrase with line feeds reaches no log as it came."""
    caplog.set_level(logging.DEBUG)
    async with streams.connected() as quic:
        quic.client.close(6, "bye\nERROR forged")
        await quic.server.wait_closed()
    assert any(r"bye\\nERROR forged" in line or r"bye\nERROR forged" in line for line in caplog.messages)
    assert all("\n" not in line for line in caplog.messages)
    assert not [record for record in caplog.records if record.name.startswith("quic")]


def test_aioquic_has_the_adapter() -> None:
    """The class that is replaced still takes a logger and what is known of the connection."""
    assert list(signature(QuicConnectionAdapter).parameters)[:2] == ["logger", "extra"]
