"""Key updates: ours in time, the peer's followed, packets under way still read, and keys that are worn out."""

from __future__ import annotations

import itertools
from inspect import signature

import pytest
from aioquic.quic import crypto
from aioquic.quic.connection import QuicConnection
from aioquic.quic.crypto import CryptoContext, CryptoError, CryptoPair
from aioquic.tls import CipherSuite, Epoch

from rogue import frames
from rogue.peer import RogueClient
from support import streams
from tndrl.config import LimitsConfig
from tndrl.transport._aioquic import keys
from tndrl.transport._aioquic.floods import PER_SECOND
from tndrl.transport._aioquic.keys import INTEGRITY_LIMITS, UPDATE, KeyPair, KeyUpdates, ReadKeys
from tndrl.transport.codes import TransportCode
from tndrl.transport.quic_settings import QuicSettings
from tndrl.transport.session import Session

PACKETS = 100
SOON = QuicSettings(limits=LimitsConfig(packets_per_key=PACKETS))
PING = frames.frame(frames.PING)


def pair(side: Session) -> KeyPair:
    """Return the keys of one end."""
    return side._quic._cryptos[Epoch.ONE_RTT]


async def updated(quic: streams.Quic, side: Session) -> None:
    """Let one end go on to its next keys, and wait until the other has followed."""
    secret = pair(side).send.secret
    side._quic.request_key_update()
    await quic.exchange()
    assert pair(side).send.secret != secret
    assert pair(quic.client).send.secret == pair(quic.server).recv.secret


def test_the_limits_are_those_of_the_standard() -> None:
    """Packets sent and packets refused with one key: RFC 9001 section 6.6, and far less for those that are sent."""
    assert keys.CONFIDENTIALITY_LIMIT == 2**23
    aes, chacha = 2**52, 2**36
    assert {
        CipherSuite.AES_128_GCM_SHA256: aes,
        CipherSuite.AES_256_GCM_SHA384: aes,
        CipherSuite.CHACHA20_POLY1305_SHA256: chacha,
    } == INTEGRITY_LIMITS
    assert LimitsConfig().packets_per_key == 100_000


async def test_keys_are_updated_in_time() -> None:
    """No key protects many more packets than the limit says, and nothing is lost on the way."""
    async with streams.connected(SOON) as quic:
        near, far = await quic.streams()
        secrets = [pair(quic.client).send.secret]
        numbers = [0]
        for _ in range(5 * PACKETS):
            await near.send(b"x")
            assert await far.receive() == b"x"
            secret = pair(quic.client).send.secret
            if secret != secrets[-1]:
                secrets.append(secret)
                numbers.append(quic.client._quic._packet_number)
        used = [later - earlier for earlier, later in itertools.pairwise(numbers)]
        assert len(used) >= 3
        assert max(used) <= PACKETS + 20


async def test_a_side_that_only_acknowledges_updates_too() -> None:
    """Acknowledgements are packets as well, which nobody acknowledges: a PING finds out what has arrived."""
    async with streams.connected(SOON, QuicSettings()) as quic:
        near, far = await quic.streams()
        secret = pair(quic.server).send.secret
        while quic.server._quic._packet_number < PACKETS + 20:
            await near.send(b"x")
            assert await far.receive() == b"x"
            await streams.until(lambda: quic.client._quic.unsent(near.stream_id) == 0)
        assert pair(quic.server).send.secret != secret


async def test_keys_are_not_updated_twice_without_an_acknowledgement() -> None:
    """An update waits until something sent with the current keys has been acknowledged (RFC 9001 section 6.1)."""
    async with streams.connected(SOON) as quic:
        connection = quic.client._quic
        connection._keys_since = connection._packet_number + 1  # nothing from here on is acknowledged
        connection._packet_number += 5 * PACKETS
        requests: list[int] = []
        connection.request_key_update = lambda: requests.append(1)
        connection._renew_keys()
        assert not requests
        assert connection._ping_pending == [0]
        connection._renew_keys()
        assert connection._ping_pending == [0]  # one is enough


async def test_packets_under_way_are_still_read() -> None:
    """What was sent before an update and comes after it is decrypted with the keys before it (RFC 9001 section 6.5)."""
    async with streams.accepting() as server:
        host, port = server.endpoint.address[:2]
        async with RogueClient(f"{host}:{port}", streams.honest("b")) as rogue:
            assert await rogue.outcome() is None
            late = rogue.connection.packet(frames.frame(0x21))
            rogue.connection.update_keys()
            await rogue.settle()
            assert rogue.connection.closed is None
            rogue.throw(late)
            assert (await rogue.closed()).frame_type == 0x21


async def test_old_keys_are_dropped() -> None:
    """Three probe timeouts after an update the keys before it are gone."""
    async with streams.connected() as quic:
        await updated(quic, quic.client)
        connection = quic.client._quic
        assert pair(quic.client).recv.previous is not None
        connection.datagrams_to_send(connection._old_keys_until or 0.0)
        connection.datagrams_to_send((connection._old_keys_until or 0.0) + 0.001)
        assert pair(quic.client).recv.previous is None


async def test_either_side_may_update() -> None:
    """Keys go on and on, whoever begins."""
    async with streams.connected() as quic:
        for side in (quic.client, quic.server, quic.server, quic.client):
            await updated(quic, side)


async def test_an_update_before_the_last_is_acknowledged_ends_the_connection() -> None:
    """Two updates in two packets are a KEY_UPDATE_ERROR (RFC 9001 section 6.2)."""
    async with streams.accepting() as server:
        host, port = server.endpoint.address[:2]
        async with RogueClient(f"{host}:{port}", streams.honest("b")) as rogue:
            assert await rogue.outcome() is None
            for _ in range(2):
                rogue.connection.update_keys()
                rogue.inject(PING)
            assert (await rogue.closed()).code == TransportCode.KEY_UPDATE_ERROR


async def test_updates_without_end_are_a_flood() -> None:
    """A peer that updates its keys with each packet, each acknowledged, is closed after a second's allowance."""
    async with streams.accepting() as server:
        host, port = server.endpoint.address[:2]
        async with RogueClient(f"{host}:{port}", streams.honest("b")) as rogue:
            assert await rogue.outcome() is None
            updates, most = 0, 20 * PER_SECOND // UPDATE
            while rogue.connection.closed is None and updates < most:
                rogue.connection.update_keys()
                rogue.inject(PING)
                await rogue.settle()
                updates += 1
            assert rogue.connection.closed is not None
            assert rogue.connection.closed.code == TransportCode.PROTOCOL_VIOLATION
            assert updates >= PER_SECOND // UPDATE


@pytest.fixture
def few_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ten forged packets wear a connection out."""
    for suite in INTEGRITY_LIMITS:
        monkeypatch.setitem(INTEGRITY_LIMITS, suite, 10)


@pytest.mark.usefixtures("few_failures")
async def test_forged_packets_wear_a_connection_out() -> None:
    """At the integrity limit the connection is closed with AEAD_LIMIT_REACHED (RFC 9001 section 6.6)."""
    async with streams.accepting() as server:
        host, port = server.endpoint.address[:2]
        async with RogueClient(f"{host}:{port}", streams.honest("b")) as rogue:
            assert await rogue.outcome() is None
            for number in range(10):  # each is tried in one way or two
                await rogue.settle()
                assert number >= 5 or rogue.connection.closed is None
                packet = rogue.connection.packet(PING)
                rogue.throw(packet[:-1] + bytes([packet[-1] ^ 1]))
            assert (await rogue.closed()).code == TransportCode.AEAD_LIMIT_REACHED


async def test_a_key_that_nobody_acknowledges_wears_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that lets no update happen is closed before the key has protected too many packets."""
    monkeypatch.setattr(keys, "CONFIDENTIALITY_LIMIT", 5 * PACKETS)
    async with streams.connected(SOON) as quic:
        connection = quic.client._quic
        connection._keys_since = connection._packet_number + 1
        connection._packet_number += 5 * PACKETS + 1
        connection._renew_keys()
        assert connection.close_info is not None
        assert connection.close_info.code == TransportCode.AEAD_LIMIT_REACHED


async def test_forged_key_phases_cost_one_derivation(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next keys are derived once, however many packets pretend to be protected with them."""
    derived: list[int] = []

    def derive(context: CryptoContext) -> CryptoContext:
        derived.append(1)
        return crypto.next_key_phase(context)

    async with streams.connected() as quic:
        monkeypatch.setattr(keys, "next_key_phase", derive)
        read = pair(quic.server).recv
        packet = bytes([0x44]) + quic.server._quic.host_cid + bytes(40)
        for bits in range(64):  # header protection hides which of them say the other key phase
            with pytest.raises(CryptoError):
                read.decrypt_packet(bytes([0x40 | bits]) + packet[1:], 9, 0)
        assert len(derived) == 1


# What aioquic must still have


def test_aioquic_has_the_keys() -> None:
    """What is overridden and called is there with the same arguments."""
    packet = ["self", "packet", "encrypted_offset", "expected_packet_number"]
    for base, ours in ((CryptoContext, ReadKeys), (CryptoPair, KeyPair)):
        assert list(signature(base.decrypt_packet).parameters) == packet
        assert ours.decrypt_packet is not base.decrypt_packet
    assert list(signature(CryptoPair._update_key).parameters) == ["self", "trigger"]
    assert list(signature(crypto.next_key_phase).parameters) == ["self"]
    assert list(signature(crypto.apply_key_phase).parameters) == ["self", "crypto", "trigger"]
    assert list(signature(QuicConnection.request_key_update).parameters) == ["self"]
    assert KeyUpdates._initialize is not QuicConnection._initialize


def test_every_suite_has_a_limit() -> None:
    """A cipher suite that aioquic adds is missing in our table."""
    assert set(crypto.CIPHER_SUITES) == set(INTEGRITY_LIMITS)
    assert INTEGRITY_LIMITS[CipherSuite.CHACHA20_POLY1305_SHA256] == 1 << 36


async def test_aioquic_never_updates_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without our renewal the first keys stay; once that is no longer so, it can go."""
    monkeypatch.setattr(KeyUpdates, "_renew_keys", lambda _self: None)
    async with streams.connected(SOON) as quic:
        secret = pair(quic.client).send.secret
        for _ in range(3 * PACKETS // 4):
            await quic.exchange()
        assert quic.client._quic._packet_number > 2 * PACKETS
        assert pair(quic.client).send.secret == secret
