"""The provider protocol."""

from __future__ import annotations

import pytest

from tndrl.errors import UsageError
from tndrl.llm.provider import Turn, last_prompt


def test_the_last_turn_is_answered():
    """What came before it is not."""
    assert last_prompt([Turn("user", "one"), Turn("agent", "two"), Turn("user", "three")]) == "three"


@pytest.mark.parametrize("turns", [[], [Turn("user", "one"), Turn("agent", "two")]])
def test_there_must_be_something_to_answer(turns):
    """Neither an empty conversation nor one that the agent ended can be answered."""
    with pytest.raises(UsageError, match="nothing to answer"):
        last_prompt(turns)
