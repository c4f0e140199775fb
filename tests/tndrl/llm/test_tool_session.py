"""Connections to real MCP servers, over pipes and over HTTP."""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest

from support import tools
from tndrl.errors import ProviderError
from tndrl.llm.tool_servers import ToolServer
from tndrl.llm.tool_session import ToolFailedError, ToolSession

SECRET = "t0k-secret"  # noqa: S105 - it is one for the test only
ALL = {"add", "environment", "fail", "picture", "crash", "count", "hang"}


@asynccontextmanager
async def opened(server, **options):
    session = ToolSession(server, **options)
    try:
        yield session
    finally:
        await session.aclose()


async def names(session):
    return {tool.name for tool in await session.tools()}


async def failure(session):
    with pytest.raises(ProviderError) as caught:
        await session.tools()
    return caught.value.reason


@pytest.fixture(params=["stdio", "http"])
def server(request):
    if request.param == "stdio":
        yield tools.over_stdio(TOOL_TOKEN=SECRET)
    else:
        with tools.over_http(token=SECRET) as there:
            yield there


async def test_tools_are_listed_and_called(server):
    """Whichever way the server is reached."""
    async with opened(server) as session:
        assert await names(session) == ALL
        assert await session.call("add", {"a": 1, "b": 2}) == "3"


@pytest.mark.timeout(10)
async def test_a_call_that_takes_too_long_is_cancelled(server, tmp_path):
    """The model hears of it, the server stops working, and other calls go on."""
    async with opened(server, call_timeout=0.5) as session:
        await session.tools()
        with pytest.raises(ToolFailedError, match="timed out"):
            await session.call("hang", {"path": str(tmp_path / "state")})
        await tools.written(tmp_path / "state", "cancelled")
        assert await session.call("add", {"a": 1, "b": 2}) == "3"


async def test_cancelling_cancels_the_call(server, tmp_path):
    """The server stops working, and the connection serves the next."""
    async with opened(server) as session:
        await session.tools()
        task = asyncio.create_task(session.call("hang", {"path": str(tmp_path / "state")}))
        await tools.written(tmp_path / "state", "running")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await tools.written(tmp_path / "state", "cancelled")
        assert await session.call("add", {"a": 1, "b": 2}) == "3"


async def test_a_server_that_crashes_fails_its_calls(server):
    """Those that run and those that come after."""
    async with opened(server) as session:
        await session.tools()
        for _ in range(2):
            with pytest.raises(ToolFailedError, match="Connection closed"):
                await session.call("crash", {})


async def test_a_program_that_crashed_is_started_again():
    """By the next prompt."""
    async with opened(tools.over_stdio()) as session:
        await session.tools()
        with pytest.raises(ToolFailedError):
            await session.call("crash", {})
        assert await names(session) == ALL
        assert await session.call("add", {"a": 1, "b": 2}) == "3"


async def test_prompts_share_what_is_opened_again():
    """Several that find the connection lost end up on one new one."""
    async with opened(tools.over_stdio()) as session:
        await session.tools()
        with pytest.raises(ToolFailedError):
            await session.call("crash", {})
        assert await asyncio.gather(*(names(session) for _ in range(5))) == [ALL] * 5


async def test_who_is_late_to_find_a_connection_lost_leaves_the_new_one_alone():
    """Only the one that failed is given up."""
    async with opened(tools.odd()) as session:
        await session.tools()
        lost = session._connection
        await session.aclose()
        await session.tools()
        opened_since = session._connection
        await session._drop(lost)
        assert session._connection is opened_since
        assert await names(session) == {"tool1"}


async def test_tools_that_are_left_out_are_not_listed():
    """The model never hears of them."""
    async with opened(replace(tools.over_stdio(), excluded=frozenset({"crash", "hang"}))) as session:
        assert await names(session) == ALL - {"crash", "hang"}


async def test_a_program_sees_only_the_variables_meant_for_it(monkeypatch):
    """Those of its entry and what any program needs; the node's own, keys among them, stay here."""
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    async with opened(tools.over_stdio(MINE="1")) as session:
        await session.tools()
        seen = set((await session.call("environment", {})).split())
    assert "MINE" in seen
    assert seen <= {"MINE", "HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER", "LC_CTYPE"}


@pytest.mark.parametrize(
    ("tool", "arguments", "words"),
    [("fail", {}, "fail"), ("add", {"a": "x"}, "validation error"), ("nope", {}, "Unknown tool")],
)
async def test_a_failure_of_a_tool_is_for_the_model(tool, arguments, words):
    """It may try something else."""
    async with opened(tools.over_stdio()) as session:
        await session.tools()
        with pytest.raises(ToolFailedError, match=words):
            await session.call(tool, arguments)


async def test_what_is_not_text_is_left_out():
    """The model is told so."""
    async with opened(tools.over_stdio()) as session:
        await session.tools()
        assert await session.call("picture", {}) == "(image: not text, and left out)"


async def test_a_call_needs_a_connection():
    """One that was never made or is closed already fails like any other."""
    with pytest.raises(ToolFailedError, match="gone"):
        await ToolSession(tools.over_stdio()).call("add", {})


async def test_text_comes_in_blocks():
    """Those of resources count, and each is a line."""
    resource = {"type": "resource", "resource": {"uri": "file:///a", "text": "two"}}
    blob = {"type": "resource", "resource": {"uri": "file:///b", "blob": ""}}
    content = [{"type": "text", "text": "one"}, resource, blob]
    async with opened(tools.odd(answer={"content": content, "structuredContent": {"sum": 3}})) as session:
        await session.tools()
        assert await session.call("tool1", {}) == "one\ntwo\n(resource: not text, and left out)"


async def test_a_failure_without_words_has_some():
    """The model learns that the tool failed at least."""
    async with opened(tools.odd(answer={"content": [], "isError": True})) as session:
        await session.tools()
        with pytest.raises(ToolFailedError, match="the tool failed"):
            await session.call("tool1", {})


@pytest.mark.parametrize(
    "answer", [{"content": [{"type": "text", "text": "3"}]}, {"content": 5}, {"content": [5]}]
)
async def test_what_is_no_answer_is_none(answer):
    """Neither the text of a tool that breaks its promise, nor what has another shape."""
    async with opened(tools.odd(answer=answer)) as session:
        await session.tools()
        with pytest.raises(ToolFailedError, match="the tool server sent what is no answer"):
            await session.call("tool1", {})


async def test_a_list_in_pages_is_read_to_its_end():
    """Every page has tools."""
    async with opened(tools.odd(pages=3)) as session:
        assert await names(session) == {"tool1", "tool2", "tool3"}


@pytest.mark.timeout(10)
async def test_a_list_without_an_end_is_given_up():
    """After a hundred pages."""
    async with opened(tools.odd(pages=0)) as session:
        assert await failure(session) == "the tool server 'odd' cannot be used"


@pytest.mark.parametrize(
    "command", [("/no/such/program",), ("false",), (sys.executable, "-c", "print('hello')")]
)
async def test_a_program_that_is_no_server_cannot_be_used(command, caplog):
    """It does not exist, ends at once, or says something else; the log has the class of what went wrong."""
    async with opened(ToolServer("shop", (*command, SECRET))) as session:
        assert await failure(session) == "the tool server 'shop' cannot be used"
    assert "MCP server 'shop' cannot be used (" in caplog.text
    assert SECRET not in caplog.text


@pytest.mark.timeout(10)
async def test_a_silent_program_is_given_up():
    """And ended."""
    async with opened(ToolServer("shop", ("sleep", "3600")), open_timeout=0.2) as session:
        assert await failure(session) == "the tool server 'shop' cannot be used"


async def test_a_url_where_nobody_listens_cannot_be_used(caplog):
    """The log says that connecting failed."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/{SECRET}"
        async with opened(ToolServer("web", url=url)) as session:
            assert await failure(session) == "the tool server 'web' cannot be used"
    assert "ConnectError" in caplog.text
    assert SECRET not in caplog.text


async def test_no_secret_is_in_an_error_or_a_log(caplog, capfd):
    """Not the header, not what the server repeats of it, not what a program prints, even when debugging."""
    caplog.set_level(logging.DEBUG)
    with tools.over_http(token=SECRET) as web:
        async with opened(replace(web, headers={"Authorization": f"Bearer wrong-{SECRET}"})) as session:
            assert SECRET not in await failure(session)
    async with opened(tools.over_stdio(TOOL_TOKEN=SECRET)) as session:
        await session.tools()
    chatty = ToolServer("shop", (sys.executable, "-c", f"print('{SECRET}')"))
    async with opened(chatty) as session:
        await failure(session)
    assert SECRET not in caplog.text
    assert SECRET not in "".join(capfd.readouterr())


async def test_closing_while_connecting_ends_the_program():
    """Nothing is left behind; doing it again does nothing."""
    session = ToolSession(ToolServer("shop", ("sleep", "3600")))
    task = asyncio.create_task(session.tools())
    await asyncio.sleep(0)
    assert session._connection is not None
    await session.aclose()
    await session.aclose()
    with pytest.raises(ProviderError):
        await task
