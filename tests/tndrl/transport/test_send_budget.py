"""How much a connection keeps for its peer."""

from tndrl.transport.send_budget import STREAM_MOST, STREAM_SHARE, SendBudget
from tndrl.transport.stream import CHUNK


def test_a_stream_has_plenty_at_first():
    """While the connection has room each stream may keep a lot."""
    budget = SendBudget(1000)
    budget.add(1000)
    assert (budget.is_spent, budget.stream_most, budget.bite) == (False, STREAM_MOST, CHUNK)


def test_a_share_is_left_when_it_is_spent():
    """Beyond that each stream still has a share, so that none is starved."""
    budget = SendBudget(1000)
    budget.add(1001)
    assert (budget.is_spent, budget.stream_most, budget.bite) == (True, STREAM_SHARE, STREAM_SHARE)
    assert repr(budget) == "<SendBudget 1001 of 1000 bytes>"


def test_what_was_acknowledged_is_free_again():
    """Counted anew, there is room."""
    budget = SendBudget(1000)
    budget.add(5000)
    budget.recount(10)
    assert not budget.is_spent
    budget.add(991)
    assert budget.is_spent
