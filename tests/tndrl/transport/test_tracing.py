"""What connections leave for qvis and Wireshark."""

from __future__ import annotations

import json
import logging
import stat
from pathlib import Path

import pytest
from aioquic.quic.crypto import CryptoContext
from aioquic.tls import Epoch

from support import streams
from tndrl.errors import ConfigError, NoAnswerError
from tndrl.transport import tracing
from tndrl.transport.quic_settings import CONNECTION_ID_LENGTH, QuicSettings
from tndrl.transport.session import Session
from tndrl.transport.tracing import KeyLog, QlogDirectory, TraceSettings
from tndrl.transport.udp import Address

ODCID = bytes(range(8))


def records(file: Path) -> list[dict[str, object]]:
    """Return what a file of JSON text sequences holds."""
    return [json.loads(line.removeprefix(b"\x1e")) for line in file.read_bytes().splitlines()]


def mode(path: Path) -> int:
    """Return a file's permissions."""
    return stat.S_IMODE(path.stat().st_mode)


async def test_each_connection_has_a_file(tmp_path: Path) -> None:
    """Both ends of a connection write their events under the same ID, for the owner's eyes only."""
    settings = QuicSettings(trace=TraceSettings(qlog_dir=tmp_path / "qlog"))
    async with streams.connected(settings, settings) as quic:
        await quic.exchange()
    client, server = sorted((tmp_path / "qlog").iterdir())
    assert client.stem.removesuffix("-client") == server.stem.removesuffix("-server")
    for file, role in ((client, "client"), (server, "server")):
        head, *events = records(file)
        assert head["qlog_format"] == "JSON-SEQ"
        assert head["trace"]["vantage_point"]["type"] == role
        names = {event["name"] for event in events}
        assert {"transport:packet_sent", "transport:packet_received"} <= names
        assert mode(file) == 0o600


async def test_an_abandoned_connection_ends_its_file(tmp_path: Path) -> None:
    """The file of a connection that is given up is closed with it."""
    settings = QuicSettings(trace=TraceSettings(qlog_dir=tmp_path))
    async with streams.connected(settings, settings) as quic:
        traces = quic.client_endpoint._tracing._qlog
        quic.client.abandon(NoAnswerError("a", 1))
        assert not traces._open


def test_a_file_ends_at_its_size(tmp_path: Path) -> None:
    """What does not fit is left out, and what is there stays whole."""
    trace = QlogDirectory(tmp_path, 4096).start_trace(is_client=True, odcid=ODCID)
    for _ in range(100):
        trace.log_event(category="transport", event="packet_sent", data={"raw": "x" * 100})
    (file,) = tmp_path.iterdir()
    assert 3500 < file.stat().st_size <= 4096
    assert len(records(file)) > 10


def test_an_id_that_comes_twice(tmp_path: Path) -> None:
    """A peer that repeats its ID, which it chooses, overwrites nothing."""
    directory = QlogDirectory(tmp_path, 4096)
    for _ in range(2):
        directory.start_trace(is_client=False, odcid=ODCID)
    directory.close()
    assert len(list(tmp_path.iterdir())) == 2


def test_files_are_bounded(tmp_path: Path, monkeypatch, caplog) -> None:
    """Connections without end do not fill the disk, and the log says once that no more are traced."""
    monkeypatch.setattr(tracing, "MAX_FILES", 3)
    directory = QlogDirectory(tmp_path, 4096)
    for number in range(6):
        directory.start_trace(is_client=False, odcid=bytes([number] * 8))
    directory.close()
    assert len(list(tmp_path.iterdir())) == 3
    assert len(caplog.records) == 1


async def test_key_log(tmp_path: Path, caplog) -> None:
    """Both ends write the secrets of a connection in the format that Wireshark reads, and the log warns of it."""
    file = tmp_path / "keys"
    settings = QuicSettings(trace=TraceSettings(key_log_file=file))
    with caplog.at_level(logging.WARNING):
        async with streams.connected(settings, settings) as quic:
            await quic.exchange()
    lines = [line.split() for line in file.read_text().splitlines()]
    assert {label for label, _random, _secret in lines} >= {
        "CLIENT_HANDSHAKE_TRAFFIC_SECRET",
        "SERVER_HANDSHAKE_TRAFFIC_SECRET",
        "CLIENT_TRAFFIC_SECRET_0",
        "SERVER_TRAFFIC_SECRET_0",
    }
    assert len({client_random for _label, client_random, _secret in lines}) == 1
    assert mode(file) == 0o600
    assert "reads their traffic" in caplog.text


async def test_the_key_log_opens_what_was_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A packet taken from the wire is read with the secret of its line and nothing else (RFC 9001 section 5)."""
    wire: list[bytes] = []
    receive = Session.receive_datagram

    def recorded(session: Session, data: bytes, address: Address) -> None:
        if not session.is_client:
            wire.append(data)
        receive(session, data, address)

    settings = QuicSettings(trace=TraceSettings(key_log_file=tmp_path / "keys"))
    async with streams.connected(settings) as quic:
        near, far = await quic.streams()
        monkeypatch.setattr(Session, "receive_datagram", recorded)
        await near.send(b"in clear words")
        await far.receive()
        key = quic.server._quic._cryptos[Epoch.ONE_RTT].recv
        suite, expected = key.cipher_suite, quic.server._quic._spaces[Epoch.ONE_RTT].expected_packet_number
    lines = dict(line.split()[::2] for line in (tmp_path / "keys").read_text().splitlines())
    reader = CryptoContext()
    reader.setup(cipher_suite=suite, secret=bytes.fromhex(lines["CLIENT_TRAFFIC_SECRET_0"]), version=1)
    header = 1 + CONNECTION_ID_LENGTH
    assert not any(b"in clear words" in data for data in wire)
    payloads = [reader.decrypt_packet(data, header, expected)[1] for data in wire]
    assert any(b"in clear words" in payload for payload in payloads)


def test_a_full_disk_stops_the_key_log_only(caplog) -> None:
    """A log that cannot be written is given up with one warning: no connection ends for it."""
    log = KeyLog(Path("/dev/full"))
    log.write("a\n")
    log.write("b\n")
    log.close()
    assert caplog.text.count("no more secrets") == 1


def test_nothing_is_written_unless_asked(tmp_path: Path) -> None:
    """Tracing is off by default."""
    assert QuicSettings().trace == TraceSettings(None, key_log_file=None)


@pytest.mark.parametrize(("setting", "key"), [("qlog_dir", "qlogDir"), ("key_log_file", "keyLogFile")])
async def test_a_place_that_cannot_be_written(tmp_path: Path, setting: str, key: str) -> None:
    """A wrong path is a mistake in the configuration, named by its key."""
    (tmp_path / "file").touch()
    settings = QuicSettings(trace=TraceSettings(**{setting: tmp_path / "file" / "below"}))
    with pytest.raises(ConfigError, match=key):
        async with streams.accepting(settings):
            pass
