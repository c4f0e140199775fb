"""Every certificate of the table on the wire, in both roles: refused with its alert, or accepted."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509

from pki.svid import Usage
from rogue.peer import RogueClient, RogueServer
from rogue.script import Script
from support import nodes
from support.certs import BAD, GOOD, Case
from tndrl.errors import PeerCertificateError
from wire.stages import Caller, Stage


def script(case: Case, usage: Usage) -> Script:
    """Return the script of a peer that presents the row's chain, and does nothing else wrong."""
    made = case.make(usage)
    return Script() if made is None else Script(chain=made.chain_der, key=made.key)


def rows(table: dict[str, Case], role: str) -> list[object]:
    """Return the rows with ids like ``TLS-10-server``; the role is our node's."""
    return [pytest.param(case, id=f"{name.replace(' ', '_')}-{role}") for name, case in table.items()]


@pytest.mark.parametrize("case", rows(BAD, "server"))
async def test_a_server_refuses_the_client(stage: Stage, case: Case) -> None:
    """The client receives the row's alert; nothing is routed or written, one line tells of it."""
    closed = await stage.refused(script(case, Usage.CLIENT))
    assert closed.alert == case.alert(Usage.CLIENT)
    assert closed.frame_type == 0x06  # CRYPTO


@pytest.mark.parametrize("case", rows(BAD, "client"))
async def test_a_client_refuses_the_server(caller: Caller, case: Case) -> None:
    """The server receives the row's alert, and the caller an exception with the same alert."""
    closed, error = await caller.refuses(script(case, Usage.SERVER))
    assert closed.alert == case.alert(Usage.SERVER)
    assert closed.frame_type == 0x06  # CRYPTO
    if case.name != "TLS-01":  # no certificate, nothing to refuse: that is a malformed message
        assert isinstance(error, PeerCertificateError)
        assert error.alert == closed.alert


@pytest.mark.parametrize("case", rows(GOOD, "server"))
async def test_a_server_accepts_the_client(stage: Stage, case: Case) -> None:
    """HANDSHAKE_DONE reaches a client whose certificate breaks no rule."""
    async with RogueClient(stage.node.address, script(case, Usage.CLIENT)) as peer:
        assert await peer.outcome() is None


@pytest.mark.parametrize("case", rows(GOOD, "client"))
async def test_a_client_accepts_the_server(short_dir: Path, case: Case) -> None:
    """A server whose certificate breaks no rule, and says who was expected, sees the handshake complete."""
    made = case.make(Usage.SERVER)
    assert made is not None
    names = made.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    (identity,) = names.get_values_for_type(x509.UniformResourceIdentifier)
    async with RogueServer(Script(chain=made.chain_der, key=made.key)) as server:
        known = [{"name": "rogue", "addr": server.address, "identity": identity}]
        async with nodes.calling(short_dir / "b", "b", "rogue", peers=known) as peer:
            assert peer.identity == identity
            assert await (await server.peer()).outcome() is None
