"""Reset tokens on the wire: ours can be made again, the peer's is known."""

from __future__ import annotations

from inspect import signature

from aioquic.quic.connection import QuicConnection

from support import streams
from tndrl.transport._aioquic.connection import AuthenticatedConnection


async def test_every_token_given_out_can_be_made_again(quic: streams.Quic) -> None:
    """The tokens of all connection IDs, on both sides, are those of the endpoint's key."""
    for session, endpoint in ((quic.client, quic.client_endpoint), (quic.server, quic.server_endpoint)):
        first = 1 if session.is_client else 0
        given = session._quic._host_cids[first:]
        assert len(given) > 1
        assert [one.stateless_reset_token for one in given] == [
            endpoint._reset_key.token(one.cid) for one in given
        ]


async def test_the_peer_has_them(quic: streams.Quic) -> None:
    """The token of the transport parameters, and those of NEW_CONNECTION_ID frames, arrive as they were made."""
    await quic.exchange()
    server = {one.cid: one.stateless_reset_token for one in quic.server._quic._host_cids}
    client = quic.client._quic
    known = {one.cid: one.stateless_reset_token for one in (client._peer_cid, *client._peer_cid_available)}
    assert known == server
    assert client.peer_reset_token == server[client._peer_cid.cid]


async def test_a_client_gives_none_with_its_first_id(quic: streams.Quic) -> None:
    """Only a server's first connection ID has a token (RFC 9000 section 18.2)."""
    assert quic.server._quic.peer_reset_token is None


async def test_the_token_follows_the_connection_id(quic: streams.Quic) -> None:
    """Once the connection uses another ID of its peer, the peer resets it with that one's token."""
    await quic.exchange()
    before = quic.client._quic.peer_reset_token
    quic.client._quic.change_connection_id()
    after = quic.client._quic.peer_reset_token
    assert after not in (None, before)
    quic.client.flush()
    assert quic.client_endpoint._routes.reset_by(before) is None
    assert quic.client_endpoint._routes.reset_by(after) is quic.client


def test_aioquic_has_the_method() -> None:
    """The method that makes connection IDs is there with the same arguments."""
    assert list(signature(QuicConnection._replenish_connection_ids).parameters) == ["self"]
    assert AuthenticatedConnection._replenish_connection_ids is not QuicConnection._replenish_connection_ids
