"""Session tickets on disk: each for one process, for nobody else's eyes, and never worth a failure."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from support import tickets
from tndrl.transport import ticket_files
from tndrl.transport.ticket_files import FileTickets
from tndrl.transport.tickets import TICKETS_PER_PEER, Ticket


@pytest.fixture
def store(tmp_path: Path) -> FileTickets:
    """A store whose directory is not there yet."""
    return FileTickets(tmp_path / "state" / "tickets", 100)


def folder(store: FileTickets) -> Path:
    return store._directory


def test_a_ticket_comes_back_whole_and_once(store: FileTickets) -> None:
    """What another process finds is what was put there, newest first, each one time."""
    made = [tickets.made("a", address=("127.0.0.1", 4433)), tickets.made("a", address=("::1", 4433, 0, 0))]
    assert (store.take("peer"), store.has("peer")) == (None, False)
    for one in made:
        store.put("peer", one)
    assert (store.has("peer"), store.has("other"), store.take("other")) == (True, False, None)
    assert [store.take("peer") for _ in range(3)] == [made[1], made[0], None]
    assert list(folder(store).iterdir()) == []


def test_nobody_else_may_read_them(store: FileTickets) -> None:
    """The directory is 0700 and a file 0600 from its first byte on, whatever the umask."""
    before = os.umask(0)
    try:
        store.put("peer", tickets.made())
    finally:
        os.umask(before)
    (file,) = folder(store).iterdir()
    assert folder(store).stat().st_mode & 0o777 == 0o700
    assert file.stat().st_mode & 0o777 == 0o600
    assert "peer" not in file.name


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_a_directory_of_others_is_not_used(
    store: FileTickets, mode: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Where others may look in nothing is kept, and nothing found there is used."""
    store.put("peer", tickets.made())
    folder(store).chmod(mode)
    assert store.take("peer") is None
    store.put("peer", tickets.made())
    assert len(list(folder(store).iterdir())) == 1
    assert "make it yours alone" in caplog.text


def test_a_link_to_elsewhere_is_not_used(store: FileTickets, tmp_path: Path) -> None:
    """A directory that is a link is somebody's trick."""
    (tmp_path / "mine").mkdir(mode=0o700)
    folder(store).parent.mkdir()
    folder(store).symlink_to(tmp_path / "mine")
    store.put("peer", tickets.made())
    assert list((tmp_path / "mine").iterdir()) == []


def test_a_disk_that_cannot_be_written_fails_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Tickets that cannot be kept are a warning, without the secret in it."""
    (tmp_path / "file").write_text("")
    store, made = FileTickets(tmp_path / "file" / "tickets", 10), tickets.made()
    store.put("peer", made)
    assert store.take("peer") is None
    assert "cannot be kept" in caplog.text
    assert made.session.resumption_secret.hex() not in caplog.text


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "cut": lambda data: data[:-10],
    "other": lambda _: b"[]",
    "binary": lambda _: bytes(range(256)),
    "cipher": lambda data: data.replace(b'"cipher_suite":4866', b'"cipher_suite":1'),
    "identity": lambda data: data.replace(b"spiffe://", b"https://"),
    "time": lambda data: data.replace(b'"not_before":', b'"not_before":9e99,"x":'),
    "parameters": lambda data: data.replace(b'[57,""]', b'[57,"/////w=="]'),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_file_that_is_damaged_is_removed(
    store: FileTickets, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever stands in a file, the next one is used and it is gone."""
    good = tickets.made()
    store.put("peer", good)
    store.put("peer", tickets.made())
    latest = max(folder(store).iterdir())
    data = latest.read_bytes()
    changed = DAMAGES[damage](data)
    assert changed != data
    latest.write_bytes(changed)
    assert store.take("peer") == good
    assert list(folder(store).iterdir()) == []
    assert "is no session ticket; removed" in caplog.text


def test_one_that_is_over_is_removed(store: FileTickets) -> None:
    """A dead ticket does not stay."""
    store.put("peer", tickets.made(age=100, lifetime=99))
    assert store.take("peer") is None
    assert list(folder(store).iterdir()) == []


def test_only_so_many_are_kept(tmp_path: Path) -> None:
    """Some for each peer, and of all the latest."""
    store = FileTickets(tmp_path / "tickets", 2 * TICKETS_PER_PEER)
    for peer in "xyz":
        for _ in range(TICKETS_PER_PEER + 2):
            store.put(peer, tickets.made())
    assert len(list(folder(store).iterdir())) == 2 * TICKETS_PER_PEER
    assert (store.has("x"), store.has("y"), store.has("z")) == (False, True, True)


def test_what_a_killed_process_left_is_removed(store: FileTickets, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that was never finished goes with a later one, not while it may still be written."""
    folder(store).mkdir(parents=True, mode=0o700)
    left = folder(store) / f"key-{time.time_ns():020d}-00.ticket.new"
    left.write_text("half")
    store.put("peer", tickets.made())
    assert left.exists()
    monkeypatch.setattr(ticket_files, "ABANDONED", 0)
    store.put("peer", tickets.made())
    assert not left.exists()


TAKER = """
import sys
from pathlib import Path
from tndrl.transport.ticket_files import FileTickets
store = FileTickets(Path(sys.argv[1]), 100)
sys.stdin.readline()
while (ticket := store.take("peer")) is not None:
    print(ticket.session.ticket.hex())
"""


def test_many_processes_never_take_the_same(store: FileTickets) -> None:
    """Of processes that take tickets at the same time each gets others, and no ticket is lost."""
    made: list[Ticket] = [tickets.made() for _ in range(TICKETS_PER_PEER)]
    for one in made:
        store.put("peer", one)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    takers = [subprocess.Popen([sys.executable, "-c", TAKER, str(folder(store))], **pipes) for _ in range(4)]
    for one in takers:
        one.stdin.write("now\n")
        one.stdin.flush()
    taken = [line for one in takers for line in one.communicate(timeout=30)[0].split()]
    assert sorted(taken) == sorted(one.session.ticket.hex() for one in made)
