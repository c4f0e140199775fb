"""The agent's database."""

import asyncio
import stat

import pytest
from a2a.utils.errors import InternalError
from sqlalchemy import text

from tndrl.agent.database import FILE, MESSAGES, Database
from tndrl.errors import ConfigError

ROW = {"owner": "a", "message_id": "m", "task_id": "t", "seq": 0, "created": 0.0}


async def messages(database):
    return await database.transaction(
        lambda connection: connection.scalar(text("select count(*) from messages"))
    )


async def insert(connection):
    await connection.execute(MESSAGES.insert().values(ROW))


async def test_file_is_private(tmp_path):
    """The SQLite file stands in the state directory, and its user alone can read it and its log."""
    async with Database(None, tmp_path) as database:
        await database.transaction(insert)
        names = [FILE, FILE + "-wal", FILE + "-shm"]
        assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in names] == [0o600] * 3


async def test_pragmas(tmp_path):
    """SQLite writes ahead and syncs at checkpoints."""
    async with Database(None, tmp_path) as database:
        for pragma, value in (("journal_mode", "wal"), ("synchronous", 1)):
            query = text(f"pragma {pragma}")
            assert await database.transaction(lambda c, query=query: c.scalar(query)) == value


async def test_patience(tmp_path):
    """A transaction waits for those before it, whatever they take."""
    async with Database(None, tmp_path) as database:
        assert database.engine.pool.timeout() is None
        blocked = asyncio.Event()
        first = asyncio.create_task(database.transaction(lambda _: blocked.wait()))
        others = [asyncio.create_task(messages(database)) for _ in range(10)]
        assert not (await asyncio.wait(others, timeout=0.1))[0]
        blocked.set()
        assert (await first, await asyncio.gather(*others)) == (True, [0] * 10)


async def test_kept(tmp_path):
    """What is committed is there when the database is opened again."""
    async with Database(None, tmp_path) as database:
        await database.transaction(insert)
    async with Database(None, tmp_path) as database:
        assert await messages(database) == 1


async def test_rolled_back(tmp_path):
    """A transaction that raises changes nothing."""

    async def work(connection):
        await insert(connection)
        raise KeyError

    async with Database(None, tmp_path) as database:
        with pytest.raises(KeyError):
            await database.transaction(work)
        assert await messages(database) == 0


async def test_memory(tmp_path):
    """A database in memory is one for all its transactions, and leaves no file."""
    async with Database("memory", tmp_path) as database:
        await database.transaction(insert)
        assert await messages(database) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("store", [None, "memory"])
async def test_cancelled_caller(tmp_path, store):
    """A transaction whose caller is cancelled is committed nevertheless, and the database lives on."""
    begun, goes_on, told = asyncio.Event(), asyncio.Event(), []

    async def work(connection):
        await insert(connection)
        begun.set()
        await goes_on.wait()

    async with Database(store, tmp_path) as database:
        caller = asyncio.create_task(database.transaction(work, told.append))
        await begun.wait()
        caller.cancel()
        await asyncio.wait([caller])
        goes_on.set()
        assert caller.cancelled()
        assert await messages(database) == 1
        assert told == [None]


async def test_leaving_waits(tmp_path):
    """Leaving the database lets its transactions end."""
    begun, goes_on = asyncio.Event(), asyncio.Event()

    async def work(connection):
        begun.set()
        await goes_on.wait()
        await insert(connection)

    async with Database(None, tmp_path) as database:
        caller = asyncio.create_task(database.transaction(work))
        await begun.wait()
        asyncio.get_running_loop().call_soon(goes_on.set)
    await caller
    async with Database(None, tmp_path) as database:
        assert await messages(database) == 1


async def test_left(tmp_path):
    """A database that was left takes no more work."""
    async with Database("memory", tmp_path) as database:
        pass
    with pytest.raises(InternalError, match="has stopped"):
        await messages(database)


async def test_error_of_the_database(tmp_path, caplog):
    """What the database says of an error stands in the log, and nothing of it in the error for peers."""
    async with Database("memory", tmp_path) as database:
        with pytest.raises(InternalError) as caught:
            await database.transaction(lambda connection: connection.execute(text("select secret")))
    assert "secret" not in str(caught.value)
    assert "secret" in caplog.text


@pytest.mark.parametrize(
    ("store", "says"),
    [
        ("nonsense", "no SQLAlchemy URL"),
        ("sqlite:///x.db", "name an asynchronous driver"),
        ("mysql+aiomysql://host/x", "pip install aiomysql"),
    ],
)
def test_unusable_store(tmp_path, store, says):
    """A store that cannot be one is refused with the cure, under the key's name."""
    with pytest.raises(ConfigError, match=says) as caught:
        Database(store, tmp_path)
    assert caught.value.key == "agent.store"


async def test_broken_file(tmp_path):
    """A file that is no database is refused by name."""
    (tmp_path / FILE).write_text("no database at all" * 100)
    with pytest.raises(ConfigError, match=f"{FILE}: file is not a database"):
        await Database(None, tmp_path).__aenter__()


async def test_missing_directory(tmp_path):
    """A directory that is missing is named."""
    with pytest.raises(ConfigError, match="No such file or directory"):
        await Database(None, tmp_path / "none").__aenter__()
