"""How descriptors are shared out among peers, and the limit of the process."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tndrl.transport.descriptors import RESERVE, DescriptorBudget, streams_within

RAISE = """
import resource
from tndrl.transport.descriptors import limit, raise_limit
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 200))
print(limit())
raise_limit()
print(limit(), resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def fill(budget: DescriptorBudget[str], peer: str, *, control: bool = False) -> int:
    """Take streams for ``peer`` until there are no more; return how many."""
    count = 0
    while budget.take(peer, control=control):
        count += 1
    return count


def test_the_limit_is_raised_to_the_hard_one() -> None:
    """A process may then open what the system allows it at most."""
    run = subprocess.run([sys.executable, "-c", RAISE], capture_output=True, text=True, check=True)
    assert run.stdout.split("\n") == ["100", "200 (200, 200)", ""]


@pytest.mark.parametrize(
    ("percent", "limit", "streams"),
    [(50, 1024, 256), (90, 1024, 460), (50, 1048576, 262144), (1, 64, RESERVE)],
)
def test_streams_within_a_share(percent: int, limit: int, streams: int) -> None:
    """Each stream costs two descriptors of the share."""
    assert streams_within(percent, limit) == streams


def test_no_peer_takes_all() -> None:
    """The greediest leaves as much as it has, so that there is room for the next one."""
    budget: DescriptorBudget[str] = DescriptorBudget(256)
    one = fill(budget, "one")
    two = fill(budget, "two")
    assert one == 112
    assert 0 < two < one
    assert budget.take("three", control=False)


def test_control_has_a_reserve() -> None:
    """When many peers have taken what there is for services, there is room on Control."""
    budget: DescriptorBudget[str] = DescriptorBudget(256)
    for number in range(300):
        fill(budget, str(number))
    assert not budget.take("late", control=False)
    assert budget.used == 256 - 256 // RESERVE
    assert budget.take("late", control=True)


def test_what_ended_is_free_again() -> None:
    """A stream that ended makes room, and a peer without streams takes no memory."""
    budget: DescriptorBudget[str] = DescriptorBudget(16)
    for _ in range(3):
        count = fill(budget, "one")
        for _ in range(count):
            budget.give_back("one")
    assert budget.used == 0
    assert not budget._held
