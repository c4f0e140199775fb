"""Key updates of 1-RTT packets (RFC 9001 section 6), and what may be sent and received with one key.

aioquic updates its keys when it is told to, drops every packet that was under way when it did, and derives the next
keys anew for each packet whose key phase bit is not the current one, forged ones included.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from aioquic.quic.connection import NetworkAddress, QuicConnection
from aioquic.quic.crypto import (
    CryptoContext,
    CryptoError,
    CryptoPair,
    KeyUnavailableError,
    apply_key_phase,
    next_key_phase,
)
from aioquic.quic.packet import QuicErrorCode, QuicFrameType, decode_packet_number
from aioquic.tls import CipherSuite, Epoch

from tndrl.config import LimitsConfig

CONFIDENTIALITY_LIMIT = 1 << 23
"""Packets that may be sent with one key of AES-GCM; ChaCha20 allows more than can be sent (RFC 9001 section 6.6)."""

INTEGRITY_LIMITS = {
    CipherSuite.AES_128_GCM_SHA256: 1 << 52,
    CipherSuite.AES_256_GCM_SHA384: 1 << 52,
    CipherSuite.CHACHA20_POLY1305_SHA256: 1 << 36,
}
"""Packets that may fail authentication on one connection (RFC 9001 section 6.6)."""

UPDATE = 128
"""Frames that an update of the peer counts as: to follow it costs as much, and a sound peer makes few."""

OLD_KEYS = 3
"""Probe timeouts for which the keys before an update are kept (RFC 9001 section 6.5)."""


class ReadKeys(CryptoContext):
    """The keys that packets are read with: the current ones, those before them and those after them."""

    previous: CryptoContext | None
    following: CryptoContext | None
    first: int | None
    failures: int
    on_failure: Callable[[], None]

    @classmethod
    def adopt(cls, context: CryptoContext, on_failure: Callable[[], None]) -> None:
        """Turn a context of aioquic's into one of ours, in place; ``on_failure`` is told of forged packets."""
        context.__class__ = cls
        assert isinstance(context, cls)
        context.previous = None
        context.following = None
        context.first = None  # the lowest number that came with the current keys
        context.failures = 0
        context.on_failure = on_failure

    def decrypt_packet(
        self, packet: bytes, encrypted_offset: int, expected_packet_number: int
    ) -> tuple[bytes, bytes, int, bool]:
        """Return header, payload and number, and whether the peer has updated its keys."""
        if self.aead is None or self.hp is None:
            raise KeyUnavailableError("Decryption key is not available")
        header, number = self.hp.remove(packet, encrypted_offset)
        number = decode_packet_number(number, 8 * ((header[0] & 3) + 1), expected_packet_number)
        keys: CryptoContext = self
        if (header[0] & 4) >> 2 != self.key_phase:
            keys = self._of_other_phase(number)
        assert keys.aead is not None
        try:
            payload = keys.aead.decrypt(packet[len(header) :], header, number)
        except CryptoError:
            self.failures += 1
            self.on_failure()
            raise
        if keys is self and (self.first is None or number < self.first):
            self.first = number
        return header, payload, number, keys is self.following

    def teardown(self) -> None:
        """Forget all keys."""
        self.previous = self.following = None
        super().teardown()

    def advance(self, trigger: str) -> None:
        """Go on to the next keys; those that were current are kept as the previous ones."""
        following = self.following or next_key_phase(self)
        self.previous = CryptoContext(key_phase=self.key_phase)
        self.previous.aead = self.aead
        self.following = self.first = None
        apply_key_phase(self, following, trigger=trigger)

    def _of_other_phase(self, number: int) -> CryptoContext:
        if self.previous is not None and (self.first is None or number < self.first):
            return self.previous  # it was under way when the keys were updated
        if self.following is None:
            self.following = next_key_phase(self)
        return self.following


class KeyPair(CryptoPair):
    """The keys of both directions, which are updated together."""

    recv: ReadKeys
    on_update: Callable[[bool], None]

    @classmethod
    def adopt(
        cls, pair: CryptoPair, on_update: Callable[[bool], None], on_failure: Callable[[], None]
    ) -> None:
        """Turn a pair of aioquic's into one of ours; ``on_update`` learns whether an update is the peer's."""
        ReadKeys.adopt(pair.recv, on_failure)
        pair.__class__ = cls
        assert isinstance(pair, cls)
        pair.on_update = on_update

    def decrypt_packet(
        self, packet: bytes, encrypted_offset: int, expected_packet_number: int
    ) -> tuple[bytes, bytes, int]:
        """Return header, payload and number of a packet, following the peer to its next keys."""
        header, payload, number, updated = self.recv.decrypt_packet(
            packet, encrypted_offset, expected_packet_number
        )
        if updated:
            self._update_key("remote_update")
            self.recv.first = number
        return header, payload, number

    def _update_key(self, trigger: str) -> None:
        self.recv.advance(trigger)
        apply_key_phase(self.send, next_key_phase(self.send), trigger=trigger)
        self._update_key_requested = False
        self.on_update(trigger == "remote_update")


class KeyUpdates(QuicConnection):
    """Updates keys before ``limits.packets_per_key`` packets, and closes a connection that wears its keys out."""

    _limits: LimitsConfig
    _frames: int

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._keys_since = 0  # number of the first packet that could be sent with the current keys
        # Whether a PING was sent because nothing sent with them has been acknowledged.
        self._keys_asked = False
        self._peer_updated_at: int | None = None  # our next packet number when the peer updated its keys
        self._old_keys_until: float | None = None

    def datagrams_to_send(self, now: float) -> list[tuple[bytes, NetworkAddress]]:
        """Return what to send, with new keys if it is time for them."""
        if self._packet_number - self._keys_since >= self._limits.packets_per_key:
            self._renew_keys()
        if self._old_keys_until is not None:
            self._drop_old_keys(now)
        return super().datagrams_to_send(now)

    def _initialize(self, peer_cid: bytes) -> None:
        super()._initialize(peer_cid)
        KeyPair.adopt(self._cryptos[Epoch.ONE_RTT], self._keys_updated, self._packet_forged)

    @property
    def _read_keys(self) -> ReadKeys:
        keys = self._cryptos[Epoch.ONE_RTT].recv
        assert isinstance(keys, ReadKeys)
        return keys

    def _renew_keys(self) -> None:
        if not self._handshake_confirmed:
            return
        if self._spaces[Epoch.ONE_RTT].largest_acked_packet >= self._keys_since:
            self.request_key_update()
        elif self._packet_number - self._keys_since >= CONFIDENTIALITY_LIMIT:
            self._wear_out("too many packets with one key")
        elif not self._keys_asked:
            self._keys_asked = True
            self.send_ping(0)  # an update waits for an acknowledgement, and a peer acknowledges no ACK

    def _keys_updated(self, by_peer: bool) -> None:
        if by_peer:
            if self._peer_updated_at == self._packet_number:
                self.close(
                    error_code=QuicErrorCode.KEY_UPDATE_ERROR,
                    frame_type=QuicFrameType.PADDING,
                    reason_phrase="keys updated again before the last update was acknowledged",
                )
            self._peer_updated_at = self._packet_number
            self._frames += UPDATE
        self._keys_since = self._packet_number
        self._keys_asked = False
        self._old_keys_until = 0.0  # the next that is sent sets the time

    def _packet_forged(self) -> None:
        keys = self._read_keys
        assert keys.cipher_suite is not None
        if keys.failures >= INTEGRITY_LIMITS[keys.cipher_suite]:
            self._wear_out("too many packets failed authentication")

    def _drop_old_keys(self, now: float) -> None:
        assert self._old_keys_until is not None
        if not self._old_keys_until:
            self._old_keys_until = now + OLD_KEYS * self._loss.get_probe_timeout()
        elif now >= self._old_keys_until:
            self._old_keys_until = None
            self._read_keys.previous = None

    def _wear_out(self, reason: str) -> None:
        self.close(
            error_code=QuicErrorCode.AEAD_LIMIT_REACHED,
            frame_type=QuicFrameType.PADDING,
            reason_phrase=reason,
        )
