"""``tndrl prompt``."""

from __future__ import annotations

import json
import time


def test_answer(tndrl, echo):
    """The whole answer is written at once."""
    done = tndrl("prompt", echo.address, "hello ")
    assert (done.returncode, done.stdout, done.stderr) == (0, "hello hello hello \n", "")


def test_stream(prompting, echo):
    """With -s the first piece is there long before the last."""
    asked = prompting(echo.address, "hello ")
    begun = time.monotonic()
    done = asked.ended()
    assert (done.returncode, done.stdout, done.stderr) == (0, "hello hello hello \n", "")
    assert time.monotonic() - begun > 0.15


def test_json(tndrl, echo):
    """A program gets the IDs, the state and the text."""
    record = json.loads(tndrl("prompt", echo.address, "x", "-o", "json").stdout)
    assert (record["state"], record["text"], record["identity"]) == (
        "COMPLETED",
        "xxx",
        "spiffe://tndrl/node/node",
    )
    assert record["task_id"]
    assert record["context_id"]


def test_json_stream(tndrl, echo):
    """With -s it gets an object per event, numbered without a gap."""
    lines = tndrl("-o", "json", "prompt", "-s", echo.address, "x").stdout.splitlines()
    records = [json.loads(line) for line in lines]
    assert [record["sequence"] for record in records] == list(range(1, len(records) + 1))
    assert "".join(record["text"] for record in records) == "xxx"


def test_conversation(tndrl, echo):
    """--context goes on with a conversation."""
    first = json.loads(tndrl("prompt", echo.address, "x", "-o", "json").stdout)
    second = tndrl("prompt", echo.address, "y", "-o", "json", "--context", first["context_id"])
    assert json.loads(second.stdout)["context_id"] == first["context_id"]


def test_unknown_task(tndrl, echo):
    """--task of nobody's task is exit code 1."""
    done = tndrl("prompt", echo.address, "x", "--task", "nothing")
    assert (done.returncode, done.stdout) == (1, "")
    assert "NOT_FOUND" in done.stderr


def test_refused(tndrl, echo):
    """Who is not trusted is told so with exit code 4, as by every command."""
    assert tndrl("prompt", echo.address, "x", identity="distrustful").returncode == 4


def test_a_node_that_is_killed(pki, start_serving, prompting, short_dir, monkeypatch):
    """The stream goes on when the node is back, and says what became of the task."""
    monkeypatch.setenv("TMPDIR", str(short_dir))  # who is killed cannot remove its files
    slow = (
        "--state-dir",
        str(short_dir / "state"),
        "--llm-provider",
        "echo",
        "--llm-model",
        "times=1000,delay=0.1",
    )
    with start_serving(pki, *slow) as node:
        asked = prompting(node.address, "hello ")
        node.process.kill()
        node.process.wait()
    with start_serving(pki, *slow, "--server-addr", node.address):
        done = asked.ended()
    assert done.returncode == 1
    assert set(done.stdout.split()) == {"hello"}
    assert "is FAILED: interrupted by restart" in done.stderr
