"""aioquic's log: at DEBUG, escaped, and nowhere else."""

from __future__ import annotations

import logging

import pytest

from support import streams
from tndrl.transport._aioquic.logs import QuietLog


def test_a_peers_words_are_escaped(caplog: pytest.LogCaptureFixture) -> None:
    """A line feed in what aioquic repeats cannot begin a line of our log."""
    caplog.set_level(logging.DEBUG, "tndrl.aioquic")
    QuietLog(b"\x01\x02").info("Connection close received (code 0x%X, reason %s)", 1, "bye\nforged line")
    (record,) = caplog.records
    assert record.getMessage() == r"[0102] Connection close received (code 0x1, reason bye\nforged line)"


def test_warnings_are_demoted(caplog: pytest.LogCaptureFixture) -> None:
    """What aioquic warns of, we report ourselves."""
    caplog.set_level(logging.INFO)
    QuietLog(b"\x01").warning("Error: 304")
    assert caplog.records == []


async def test_connections_use_it(caplog: pytest.LogCaptureFixture) -> None:
    """A whole connection leaves nothing in aioquic's own log above DEBUG."""
    caplog.set_level(logging.INFO, "quic")
    async with streams.connected():
        pass
    assert [record for record in caplog.records if record.name == "quic"] == []
