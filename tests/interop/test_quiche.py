"""A second independent stack, quiche by way of npm: handshakes, alerts and the type byte, in both roles."""

from __future__ import annotations

import asyncio
import fcntl
import json
import shutil
import subprocess
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from pki.alerts import Alert
from support import certs, nodes, processes, requires, streams
from tndrl.errors import WrongIdentityError
from tndrl.transport.codes import CRYPTO_ERROR, ErrorCode
from tndrl.transport.dialer import MuxDialer, Target

SOURCE = Path(__file__).with_name("quiche")
FILES = ("package.json", "package-lock.json", "peer.mjs")

QUICHE_CALLS = pytest.mark.interop("quiche", "quiche calls Python")
PYTHON_CALLS = pytest.mark.interop("quiche", "Python calls quiche")


@pytest.fixture(scope="session")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The peer, installed once a run."""
    requires.npm()
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if base.name.startswith("popen-") else base) / "quiche"
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "node_modules").exists():
            for name in FILES:
                shutil.copy(SOURCE / name, folder)
            command = ["npm", "install", "--silent", "--ignore-scripts", "--no-save"]
            subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "peer.mjs"


def write_pki(folder: Path, chain: certs.Made | None, *, key: bool = True) -> Path:
    """Write the files of a client that trusts the server."""
    certs.write_pki_dir(folder, chain)
    (folder / "ca.crt").write_bytes(certs.world().ca_pem)
    if not key:
        (folder / "tndrl.key").unlink()
    return folder


async def call(
    script: Path, address: str, pki: Path, *, alpn: str = "tndrl", data: bytes = b""
) -> dict[str, Any]:
    """Have quiche connect and send ``data`` on a stream; returns how it went."""
    host, _, port = address.rpartition(":")
    ended = await processes.run("node", str(script), "client", host, port, str(pki), alpn, data.hex())
    return dict(json.loads(ended.out))


@QUICHE_CALLS
@pytest.mark.parametrize(
    ("what", "alert"),
    [
        ("other CA", Alert.unknown_ca),
        ("expired", Alert.certificate_expired),
        ("no certificate", Alert.certificate_required),
        ("other ALPN", Alert.no_application_protocol),
    ],
)
async def test_refusals(script: Path, short_dir: Path, what: str, alert: Alert) -> None:
    """A client is refused with the alert for what is wrong with it."""
    chains = {"other CA": certs.leaf(certs.world().stranger), "expired": certs.node_leaf("b", end=-60)}
    pki = write_pki(short_dir / "b", chains.get(what, certs.node_leaf("b")), key=what != "no certificate")
    async with nodes.running(short_dir / "a") as node:
        answer = await call(script, node.address, pki, alpn="h3" if what == "other ALPN" else "tndrl")
    assert answer["close"]["code"] == CRYPTO_ERROR + alert


@QUICHE_CALLS
async def test_types(script: Path, short_dir: Path) -> None:
    """A known type is answered with HTTP/2, an unknown one is reset with its code."""
    pki = write_pki(short_dir / "b", certs.node_leaf("b"))
    hello = b"\x01PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes.fromhex("000000040000000000")
    async with nodes.running(short_dir / "a") as node:
        known = await call(script, node.address, pki, data=hello)
        assert bytes.fromhex(known["received"])[3] == 0x04  # SETTINGS
        unknown = await call(script, node.address, pki, data=b"\x7f")
        assert unknown["reset"] == ErrorCode.UNKNOWN_STREAM_TYPE


@asynccontextmanager
async def serving(script: Path, pki: Path) -> AsyncIterator[tuple[asyncio.StreamReader, int]]:
    """Have quiche accept connections; yields what it says and its port."""
    process = await asyncio.create_subprocess_exec(
        "node", str(script), "server", str(pki), stdin=PIPE, stdout=PIPE
    )
    assert process.stdout is not None
    try:
        yield process.stdout, json.loads(await process.stdout.readline())["port"]
    finally:
        process.kill()
        await process.communicate()


async def close_of(output: asyncio.StreamReader) -> dict[str, Any]:
    """Return how a connection of the server ended."""
    while line := await output.readline():
        if "close" in (said := json.loads(line)):
            return dict(said["close"])
    raise AssertionError("the server ended without a word")


@PYTHON_CALLS
async def test_handshake(script: Path, short_dir: Path) -> None:
    """Both sides verify each other, and the server sees an orderly end."""
    pki = write_pki(short_dir / "a", certs.node_leaf("a"))
    async with serving(script, pki) as (output, port):
        async with MuxDialer(streams.credentials("b")) as dialer:
            session = await dialer.dial(Target("127.0.0.1", port))
            await session.wait_confirmed()
            assert str(session.peer_id) == streams.node_id("a")
        close = await close_of(output)
        assert (close["code"], close["application"]) == (ErrorCode.NO_ERROR, True)


@PYTHON_CALLS
async def test_somebody_else(script: Path, short_dir: Path) -> None:
    """A server that is not who was expected is refused."""
    pki = write_pki(short_dir / "a", certs.node_leaf("a"))
    expected = streams.credentials("c").spiffe_id
    async with serving(script, pki) as (_output, port), MuxDialer(streams.credentials("b")) as dialer:
        with pytest.raises(WrongIdentityError):
            await dialer.dial(Target("127.0.0.1", port, expected))
