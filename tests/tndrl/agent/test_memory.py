"""What is remembered of conversations."""

from __future__ import annotations

from tndrl.agent.memory import Memory
from tndrl.llm.provider import Turn


def turn(text: str) -> Turn:
    return Turn("user", text)


def texts(memory: Memory, owner: str = "a", context: str = "c") -> list[str]:
    return [turn.text for turn in memory.turns(owner, context)]


def test_a_conversation_grows() -> None:
    """What was said comes back, oldest first."""
    memory = Memory()
    memory.remember("a", "c", turn("one"), Turn("agent", "two"))
    memory.remember("a", "c", turn("three"))
    assert texts(memory) == ["one", "two", "three"]


def test_a_conversation_belongs_to_its_caller() -> None:
    """Another caller with the same context ID, and the same caller with another, have a conversation of their own."""
    memory = Memory()
    memory.remember("a", "c", turn("secret"))
    assert texts(memory, "b") == texts(memory, "a", "d") == []


def test_old_turns_are_forgotten() -> None:
    """A conversation keeps its last turns only."""
    memory = Memory(turns=2)
    memory.remember("a", "c", turn("1"), turn("2"), turn("3"))
    assert texts(memory) == ["2", "3"]


def test_long_turns_are_forgotten() -> None:
    """A conversation keeps as many characters as it may, in whole turns, even if none is left."""
    memory = Memory(characters=10)
    memory.remember("a", "c", turn("12345"), turn("123456"))
    assert texts(memory) == ["123456"]
    memory.remember("a", "c", turn("x" * 11))
    assert texts(memory) == []


def test_quiet_conversations_are_forgotten() -> None:
    """Of too many conversations the one that was quiet for longest goes."""
    memory = Memory(conversations=2)
    for context in ("c", "d", "c", "e"):
        memory.remember("a", context, turn(context))
    assert [texts(memory, "a", context) for context in "cde"] == [["c", "c"], [], ["e"]]


def test_all_conversations_together_are_bounded() -> None:
    """However few turns each has, all of them together keep to the limit."""
    memory = Memory(total=10)
    for number in range(100):
        memory.remember("a", str(number), turn("1234"))
    assert repr(memory) == "<Memory 2 conversations, 8 characters>"
