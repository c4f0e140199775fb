"""The shortest way for what calls bring: an ACK of one range, the next bytes of a stream, or both.

aioquic takes packets apart frame by frame, for anything that may stand in them. What is taken here is looked at first
and changes nothing unless all of it is as expected; the rest is aioquic's, from its first frame on.
"""

from __future__ import annotations

from typing import NamedTuple

from aioquic import tls
from aioquic.buffer import Buffer, BufferReadError
from aioquic.quic.events import StreamDataReceived
from aioquic.quic.packet import QuicFrameType
from aioquic.quic.packet_builder import QuicDeliveryState
from aioquic.quic.recovery import QuicPacketSpace
from aioquic.quic.stream import QuicStream, QuicStreamReceiver

from tndrl.transport._aioquic.ack_delay import DelayedAcks
from tndrl.transport._aioquic.acks import AckValidation
from tndrl.transport._aioquic.reassembly import StreamRanges
from tndrl.transport._aioquic.receiving import ShortHeaders
from tndrl.transport._aioquic.silence import AskAfterSilence

GRANULARITY = 0.001
"""Seconds, the least that a round trip counts for, as in aioquic."""

_ACK = int(QuicFrameType.ACK)
_STREAM, _STREAM_MASK = int(QuicFrameType.STREAM_BASE), ~7
_OFFSET, _LENGTH, _FIN = 4, 2, 1


class Small(NamedTuple):
    """An ACK frame of one range, a STREAM frame without the end of its stream, or both (RFC 9000 section 19)."""

    frames: int = 0
    low: int = -1
    high: int = -1
    """The packets that are acknowledged; -1 if none are."""
    delay: int = 0
    """What the ACK says of its delay, in the peer's unit."""
    stream_id: int = -1
    """The stream that the data is of; -1 if there is none."""
    offset: int = 0
    data: bytes = b""


def parse(payload: bytes) -> Small | None:
    """Return what is in a packet; None if it is anything else."""
    buf = Buffer(data=payload)
    low, high, delay, acks = -1, -1, 0, 0
    try:
        kind = buf.pull_uint_var()
        if kind == _ACK:
            high, delay, more = buf.pull_uint_var(), buf.pull_uint_var(), buf.pull_uint_var()
            low, acks = high - buf.pull_uint_var(), 1
            if more or low < 0:
                return None
            if buf.eof():
                return Small(acks, low, high, delay)
            kind = buf.pull_uint_var()
        if kind & _STREAM_MASK != _STREAM or kind & _FIN:
            return None
        stream_id = buf.pull_uint_var()
        offset = buf.pull_uint_var() if kind & _OFFSET else 0
        data = buf.pull_bytes(buf.pull_uint_var() if kind & _LENGTH else buf.capacity - buf.tell())
    except BufferReadError:
        return None
    return Small(acks + 1, low, high, delay, stream_id, offset, data) if data and buf.eof() else None


class SmallReceived(ShortHeaders, AckValidation, AskAfterSilence, DelayedAcks):
    """Takes packets of calls without asking what else might be in them."""

    def _take_payload(self, payload: bytes, now: float) -> bool:
        small = parse(payload)
        if small is None or not self._take_small(small, now):
            return super()._take_payload(payload, now)
        return small.stream_id >= 0

    def _take_small(self, small: Small, now: float) -> bool:
        """Take frames as aioquic would; returns False, and has done nothing, if they are not as expected."""
        if self._frames + small.frames > self._look_at:
            return False  # there may have been too many
        space = self._spaces[tls.Epoch.ONE_RTT]
        if small.high >= 0 and not self._is_next(small, space):
            return False
        if small.stream_id >= 0:
            stream = self._streams.get(small.stream_id)
            if stream is None or not self._has_room(stream, small):
                return False
            self._deliver(small, stream, now)
        self._frames += small.frames
        self._received += 1
        if small.high >= 0:
            self._acknowledge(small, space, now)
        return True

    def _is_next(self, small: Small, space: QuicPacketSpace) -> bool:
        """Return whether an ACK is of packets that were sent, all up to its end."""
        low, high = small.low, small.high
        oldest = next(iter(space.sent_packets), high)
        if high >= self._packet_number or oldest < low:
            return False
        return not [number for number in self._skipped.numbers if low <= number <= high]

    def _has_room(self, stream: QuicStream, small: Small) -> bool:
        """Return whether data comes next in its stream, within what the peer may send (RFC 9000 section 4.1)."""
        receiver, size = stream.receiver, len(small.data)
        return (
            type(receiver) is QuicStreamReceiver
            and type(receiver._ranges) is StreamRanges
            and small.offset == receiver._buffer_start == receiver.highest_offset
            and not receiver._buffer
            and receiver._final_size is None
            and not receiver.is_finished
            and small.offset + size <= stream.max_stream_data_local
            and self._local_max_data.used + size <= self._local_max_data.value
        )

    def _deliver(self, small: Small, stream: QuicStream, now: float) -> None:
        stream.receiver.highest_offset = stream.receiver._buffer_start = small.offset + len(small.data)
        self._local_max_data.used += len(small.data)
        self._events.append(StreamDataReceived(data=small.data, end_stream=False, stream_id=small.stream_id))
        self._to_acknowledge += 1
        if self._is_client:
            self._await_data(now)

    def _acknowledge(self, small: Small, space: QuicPacketSpace, now: float) -> None:
        """Take what was acknowledged off what is on its way: nothing before it is left that could be lost."""
        loss, sent, high = self._loss, space.sent_packets, small.high
        if high > space.largest_acked_packet:
            space.largest_acked_packet = high
        last, is_ack_eliciting = None, False
        while sent and (number := next(iter(sent))) <= high:
            last = sent.pop(number)
            if last.is_ack_eliciting:
                is_ack_eliciting = True
                space.ack_eliciting_in_flight -= 1
            if last.in_flight:
                loss._cc.on_packet_acked(packet=last, now=now)
            for handler, arguments in last.delivery_handlers:
                handler(QuicDeliveryState.ACKED, *arguments)
        if last is None:
            return
        if last.packet_number == high and is_ack_eliciting:
            assert last.sent_time is not None
            self._measure(now - last.sent_time, small.delay, now)
        space.loss_time = None
        loss._pto_count = 0

    def _measure(self, latest: float, delay: int, now: float) -> None:
        """Take a round trip, of which the peer says how long it waited (RFC 9002 section 5.3)."""
        loss = self._loss
        waited = min((delay << self._remote_ack_delay_exponent) / 1_000_000, loss.max_ack_delay)
        adjusted = max(latest, GRANULARITY)
        loss._rtt_min = min(loss._rtt_min, adjusted)
        if adjusted > loss._rtt_min + waited:
            adjusted -= waited
        loss._rtt_latest = adjusted
        if loss._rtt_initialized:
            loss._rtt_variance += (abs(loss._rtt_smoothed - adjusted) - loss._rtt_variance) / 4
            loss._rtt_smoothed += (adjusted - loss._rtt_smoothed) / 8
        else:
            loss._rtt_initialized, loss._rtt_first_sample_time = True, now
            loss._rtt_smoothed, loss._rtt_variance = latest, latest / 2
        loss._cc.on_rtt_measurement(now=now, rtt=latest)
        loss._pacer.update_rate(congestion_window=loss._cc.congestion_window, smoothed_rtt=loss._rtt_smoothed)
