"""From a name to the addresses behind it, and the race between them: Happy Eyeballs (RFC 8305)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable
from itertools import zip_longest
from typing import TypeVar

from tndrl.errors import ConnectError, IdentityError, NameResolutionError, TndrlError
from tndrl.transport.target import Target
from tndrl.transport.udp import Address

ATTEMPT_DELAY = 0.25
"""Seconds before the next address is tried beside one that has not answered yet (RFC 8305 section 5)."""

Candidate = tuple[int, Address]
"""An address family and an address of it."""

Made = TypeVar("Made")


async def resolve(target: Target) -> list[Candidate]:
    """Return the addresses of ``target`` in the order to try them; raises NameResolutionError. Safe to cancel.

    Asked anew for each try: a peer that moved is found where its name says now.
    """
    loop = asyncio.get_running_loop()
    try:
        infos = await loop.getaddrinfo(target.host, target.port, type=socket.SOCK_DGRAM)
    except OSError as error:
        raise NameResolutionError(str(target), error.strerror or str(error)) from error
    except UnicodeError as error:  # a label that is empty or over 63 characters
        raise NameResolutionError(str(target), "it is no host name") from error
    return interleaved((family, address) for family, _type, _protocol, _name, address in infos)


def interleaved(candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return addresses with the families taking turns, so that one broken family costs one delay (section 4).

    The system has sorted them by RFC 6724: within a family that order stays, and its first family begins.
    """
    families: dict[int, list[Candidate]] = {}
    for candidate in dict.fromkeys(candidates):
        families.setdefault(candidate[0], []).append(candidate)
    return [one for turn in zip_longest(*families.values()) for one in turn if one is not None]


async def race(
    target: Target,
    candidates: Iterable[Candidate],
    attempt: Callable[[Candidate], Awaitable[Made]],
    discard: Callable[[Made], None],
) -> Made:
    """Return what the first ``attempt`` that succeeds makes, and cancel the others (RFC 8305 section 5).

    The next address is tried when the one before has failed, or has not answered for :data:`ATTEMPT_DELAY`. Of two
    that succeed at once one goes to ``discard``. Raises the most telling failure, once all failed. Safe to cancel.
    """
    waiting, failures = list(candidates), list[TndrlError]()
    running: set[asyncio.Task[Made | TndrlError]] = set()
    made: list[Made] = []
    try:
        while not made and (waiting or running):
            if waiting:
                running.add(asyncio.ensure_future(_outcome(target, attempt(waiting.pop(0)))))
            done, running = await asyncio.wait(
                running, timeout=ATTEMPT_DELAY if waiting else None, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                outcome = task.result()
                if isinstance(outcome, TndrlError):
                    failures.append(outcome)
                else:
                    made.append(outcome)
    finally:
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
    if not made:
        raise telling(failures)
    for late in made[1:]:
        discard(late)
    return made[0]


async def _outcome(target: Target, attempt: Awaitable[Made]) -> Made | TndrlError:
    try:
        return await attempt
    except (ConnectError, IdentityError) as error:
        return error
    except OSError as error:  # this host has no IPv6, or no descriptors left
        return ConnectError(str(target), error.strerror or str(error))


def telling(failures: list[TndrlError]) -> TndrlError:
    """Return the failure that says most: somebody else answered, or else the last one."""
    return next((one for one in failures if isinstance(one, IdentityError)), failures[-1])
