"""Debian's gtlsclient, on ngtcp2 and GnuTLS: changed addresses, key updates and version negotiation."""

from __future__ import annotations

import asyncio
from asyncio.subprocess import PIPE, STDOUT
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

import tndrl
from rogue import lenient
from support import certs, nodes, requires, streams

NGTCP2_CALLS = pytest.mark.interop("ngtcp2", "ngtcp2 calls Python")


@pytest.fixture
async def node(short_dir: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tndrl.Node]:
    """A node that speaks h3 too: it is all that gtlsclient offers."""
    requires.tool("gtlsclient", "install the package ngtcp2-client")
    lenient.offer_h3(monkeypatch)
    certs.write_pki_dir(short_dir / "b", certs.node_leaf("b"))
    async with nodes.running(short_dir / "a") as node:
        yield node


@asynccontextmanager
async def calling(folder: Path, address: str, *options: str) -> AsyncIterator[asyncio.StreamReader]:
    """Run gtlsclient, which says what it does."""
    host, _, port = address.rpartition(":")
    identity = ("--cert", str(folder / "b" / "tndrl.crt"), "--key", str(folder / "b" / "tndrl.key"))
    command = ("gtlsclient", "--no-quic-dump", *identity, *options, host, port)
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=STDOUT)
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def says(output: asyncio.StreamReader, wanted: str) -> None:
    """Wait for a line."""
    async with asyncio.timeout(streams.PATIENCE):
        while line := await output.readline():
            if wanted in line.decode():
                return
    raise AssertionError(f"it ended without saying {wanted!r}")


@NGTCP2_CALLS
async def test_migration(short_dir: Path, node: tndrl.Node) -> None:
    """A client that moves to another port proves its path and keeps its connection."""
    async with calling(short_dir, node.address, "--change-local-addr=100ms") as output:
        await says(output, "Local address is now")
        (session,) = node._listener.sessions
        await session.ping()  # it challenges its new path with the next thing that it has to say
        await says(output, "path has been validated")
        await session.ping()


@NGTCP2_CALLS
async def test_key_update(short_dir: Path, node: tndrl.Node) -> None:
    """A client that updates its keys is followed (RFC 9001 section 6)."""
    async with calling(short_dir, node.address, "--key-update=50ms") as output:
        await says(output, "Initiate key update")
        (session,) = node._listener.sessions
        await session.ping()


@NGTCP2_CALLS
async def test_version_negotiation(short_dir: Path, node: tndrl.Node) -> None:
    """A client with an unknown version is told which there are, and comes back with one (RFC 9000 section 6)."""
    versions = ("-v", "0x1a2a3a4a", "--preferred-versions=v1")
    async with calling(short_dir, node.address, *versions) as output:
        await says(output, "type=VN")
        await says(output, "QUIC handshake has been confirmed")
