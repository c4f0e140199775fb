"""Valid certificates of the wrong peer, claims in metadata, and what a server does before it knows the client."""

from __future__ import annotations

from pathlib import Path

import pytest

from rogue.peer import RogueClient, RogueServer
from rogue.script import Script
from support import certs, nodes
from tndrl.errors import ConnectError, PeerCertificateError, WrongIdentityError
from tndrl.v1 import control_pb2
from wire.stages import EARLY, Caller, Stage

ACCESS_DENIED = 49
BAD_CERTIFICATE = 42
HANDSHAKE_FAILURE = 40

CLAIMS = (
    ("x-spiffe-id", "spiffe://tndrl/node/admin"),
    ("x-forwarded-client-cert", "URI=spiffe://tndrl/node/admin"),
    ("authorization", "Bearer spiffe://tndrl/node/admin"),
)


def script(made: certs.Made, **changes: object) -> Script:
    """Return the script of a peer that presents ``made`` and does nothing else wrong, but for ``changes``."""
    return Script(chain=made.chain_der, key=made.key, **changes)


async def test_a_client_outside_of_server_allow_is_denied(short_dir: Path) -> None:
    """TLS-30-server: a valid certificate is not enough where server.allow does not name it."""
    flags = {"server__allow": ["spiffe://tndrl/node/friend"]}
    async with (
        nodes.running(short_dir / "a", **flags) as node,
        nodes.calling(short_dir / "friend", "friend", node.address) as friend,
    ):
        async with RogueClient(node.address, script(certs.node_leaf("other"), stream=EARLY)) as rogue:
            closed = await rogue.outcome()
        assert closed is not None
        assert closed.alert == ACCESS_DENIED
        await nodes.ping(nodes.control(friend))


async def test_a_server_that_proves_another_identity_is_denied(short_dir: Path) -> None:
    """TLS-30-client: whoever dials A gets no connection to B, be B's certificate ever so valid."""
    async with RogueServer(script(certs.node_leaf("y"))) as server:
        known = [{"name": "x", "addr": server.address, "identity": "spiffe://tndrl/node/x"}]
        with pytest.raises(WrongIdentityError) as raised:
            async with nodes.calling(short_dir / "b", "b", "x", peers=known):
                pytest.fail("the rogue was accepted")
        closed = await (await server.peer()).closed()
    assert closed.alert == ACCESS_DENIED
    assert (raised.value.expected, raised.value.actual) == ("spiffe://tndrl/node/x", "spiffe://tndrl/node/y")


async def test_a_server_with_another_host_name_is_refused(caller: Caller) -> None:
    """Without an identity to expect, the certificate must name the host that was dialled."""
    made = certs.node_leaf("y", dns=["elsewhere.example"], ips=["192.0.2.1"])
    closed, _error = await caller.refuses(script(made))
    assert closed.alert == BAD_CERTIFICATE


async def test_a_server_that_asks_for_no_certificate_is_refused(short_dir: Path) -> None:
    """A server that does not verify us is no node: the handshake fails instead of counting as confirmed."""
    async with RogueServer(script(certs.node_leaf("y"), request_certificate=False)) as server:
        known = [{"name": "x", "addr": server.address, "identity": "spiffe://tndrl/node/y"}]
        with pytest.raises(ConnectError) as raised:
            async with nodes.calling(short_dir / "b", "b", "x", peers=known):
                pytest.fail("the rogue was accepted")
        closed = await (await server.peer()).closed()
    assert closed.alert == HANDSHAKE_FAILURE
    assert "did not ask for our certificate" in str(raised.value)


async def test_connect_raises_what_the_rogue_was_told(short_dir: Path) -> None:
    """``tndrl.connect`` names the address, the reason and the alert of a server that it refused."""
    async with RogueServer(script(certs.leaf(certs.world().stranger))) as server:
        with pytest.raises(PeerCertificateError) as raised:
            async with nodes.calling(short_dir / "b", "b", server.address):
                pytest.fail("the rogue was accepted")
        closed = await (await server.peer()).closed()
    assert raised.value.alert == closed.alert == 48
    assert server.address in str(raised.value)


async def test_claims_in_metadata_are_ignored(short_dir: Path) -> None:
    """TLS-54: the handler sees the identity of the certificate, whatever the metadata says."""
    witness = nodes.Witness()
    async with (
        nodes.running(short_dir / "a", witness=witness) as node,
        nodes.calling(short_dir / "b", "b", node.address) as peer,
    ):
        assert await nodes.who_am_i(peer, CLAIMS) == "spiffe://tndrl/node/b"
        assert witness.calls == 1


async def test_nothing_is_routed_while_the_client_is_unknown(short_dir: Path) -> None:
    """A client that writes on a stream and keeps its certificate back reaches nothing, until time is up."""
    witness = nodes.Witness()
    silent = script(
        certs.node_leaf("b"), stream=EARLY, arrange=lambda flight: flight[:1] if len(flight) == 1 else []
    )
    async with nodes.running(short_dir / "a", witness=witness, transport__handshakeTimeout=0.3) as node:
        async with RogueClient(node.address, silent) as rogue:
            closed = await rogue.outcome()
        assert closed is not None
        assert not rogue.received
        assert "streams_bridged" not in node.stats()
        assert witness.calls == 0


async def test_a_refusal_shows_in_the_status(stage: Stage) -> None:
    """GetStatus tells an operator how many handshakes failed, and with which alert."""
    await stage.refused(script(certs.leaf(certs.world().stranger)))
    metadata = (await stage.victim.GetStatus(control_pb2.GetStatusRequest())).metadata
    assert metadata["handshakes_failed"] == "1"
    assert metadata["handshakes_refused.unknown_ca"] == "1"


async def test_the_log_line_says_why(stage: Stage) -> None:
    """One line names the address, the alert and the reason."""
    stage.caplog.clear()
    async with RogueClient(stage.node.address, script(certs.leaf(certs.world().stranger))) as rogue:
        closed = await rogue.outcome()
    (line,) = stage.lines(rogue.local_address)
    assert closed is not None
    assert closed.reason in line
    assert "unknown_ca" in line


async def test_an_accepted_client_reaches_what_a_refused_one_did_not(stage: Stage) -> None:
    """The bytes that rogues send do reach a server when the certificate is good: the counters above would move."""
    async with RogueClient(stage.node.address, script(certs.node_leaf("b"), stream=EARLY)) as peer:
        await peer.until(lambda: peer.received[0] != b"")
    assert stage.node.stats()["streams_bridged"] == 2


async def test_a_refused_server_is_counted(caller: Caller) -> None:
    """The node that dialled keeps the count, by alert, as the node that is dialled does."""
    await caller.refuses(script(certs.leaf(certs.world().stranger)))
    stats = caller.node.stats()
    assert stats["dialer.handshakes_failed"] == 1
    assert stats["dialer.handshakes_refused.unknown_ca"] == 1
