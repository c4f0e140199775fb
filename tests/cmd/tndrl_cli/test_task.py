"""``tndrl task``."""

from __future__ import annotations

import json

import pytest

from support import scripted_agent as scripted
from tndrl_cli.task import as_line, as_text


@pytest.fixture(scope="module")
def slow(pki, start_serving):
    """A node whose agent takes minutes."""
    with start_serving(pki, "--llm-provider", "echo", "--llm-model", "times=1000,delay=0.2") as served:
        yield served


@pytest.fixture
def done(tndrl, echo) -> dict[str, str]:
    """A task that is over."""
    return json.loads(tndrl("prompt", echo.address, "x", "-o", "json").stdout)


def test_get(tndrl, echo, done):
    """A task is shown with its answer."""
    shown = tndrl("task", "get", echo.address, done["task_id"])
    facts, _, answer = shown.stdout.partition("\n\n")
    assert (shown.returncode, answer) == (0, "xxx\n")
    assert dict(line.split(maxsplit=1) for line in facts.splitlines())["state"] == "COMPLETED"


def test_get_json(tndrl, echo, done):
    """A program gets what was said, too."""
    record = json.loads(tndrl("task", "get", echo.address, done["task_id"], "-o", "json").stdout)
    assert (record["text"], record["history"][0]) == ("xxx", {"role": "user", "text": "x"})


def test_list(tndrl, echo, done):
    """One's own tasks are listed, the latest first."""
    shown = tndrl("task", "list", echo.address)
    assert shown.stdout.splitlines()[0].split()[:2] == [done["task_id"], "COMPLETED"]
    (one,) = tndrl("-o", "json", "task", "list", echo.address, "-n", "1").stdout.splitlines()
    assert json.loads(one)["task_id"] == done["task_id"]


def test_list_of_a_conversation(tndrl, echo, done):
    """--context shows the tasks of one conversation only."""
    tndrl("prompt", echo.address, "y")
    shown = tndrl("-o", "json", "task", "list", echo.address, "--context", done["context_id"])
    assert [json.loads(line)["task_id"] for line in shown.stdout.splitlines()] == [done["task_id"]]


def test_others_see_nothing(tndrl, echo, done):
    """To another identity the task does not exist."""
    listed = tndrl("task", "list", echo.address, identity="guest")
    assert listed.stdout == "no tasks at spiffe://tndrl/node/node\n"
    for call in ("get", "cancel", "watch"):
        refused = tndrl("task", call, echo.address, done["task_id"], identity="guest")
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "NOT_FOUND" in refused.stderr


def test_watch(tndrl, echo, done):
    """A task that is over is shown from its beginning."""
    shown = tndrl("task", "watch", echo.address, done["task_id"])
    assert (shown.returncode, shown.stdout, shown.stderr) == (0, "xxx\n", "")


def test_cancel(tndrl, slow, prompting):
    """A task that runs is cancelled; who waits for it is told, and a second time it is too late."""
    waiting = prompting(slow.address, "hello ")
    listed = json.loads(tndrl("-o", "json", "task", "list", slow.address).stdout)
    assert listed["state"] == "WORKING"
    cancelled = tndrl("task", "cancel", slow.address, listed["task_id"])
    assert (cancelled.returncode, cancelled.stdout) == (0, f"task {listed['task_id']} is CANCELED\n")
    done = waiting.ended()
    assert (done.returncode, "is CANCELED" in done.stderr) == (1, True)
    assert tndrl("task", "cancel", slow.address, listed["task_id"]).returncode == 1


def test_hostile_ids():
    """What the peer wrote is escaped and shortened."""
    task = scripted.task(task_id="a\n\x1b" + "b" * 1000)
    task.artifacts.add().parts.add(text="\x1b")
    text = as_text({"task_id": task.id, "state": "COMPLETED"}, "\x1b")
    assert text.splitlines()[-1] == "\\x1b"
    assert as_line(task).isprintable()
    assert max(len(as_line(task)), *map(len, text.splitlines())) < 300
