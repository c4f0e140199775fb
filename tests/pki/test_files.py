from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pki import files
from pki.errors import FileError, RefusedError
from pki.files import PRIVATE, NewFile, PkiFiles


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_usual_names() -> None:
    """A node's files have their usual names in one directory."""
    where = PkiFiles.within(Path("/p"))
    assert [str(p) for p in (where.ca_cert, where.ca_key, where.cert, where.key)] == [
        "/p/ca.crt",
        "/p/ca.key",
        "/p/tndrl.crt",
        "/p/tndrl.key",
    ]


def test_read(tmp_path: Path) -> None:
    """A file is returned whole."""
    (tmp_path / "f").write_bytes(b"x" * files.MAX_FILE_BYTES)
    assert len(files.read(tmp_path / "f")) == files.MAX_FILE_BYTES


def refusal(path: Path, *, private: bool = False) -> str:
    with pytest.raises(FileError) as caught:
        files.read(path, key="pki.key", private=private)
    assert str(caught.value).startswith(f"pki.key: {path}: ")
    return caught.value.problem


def test_read_missing(tmp_path: Path) -> None:
    """A missing file is named."""
    assert refusal(tmp_path / "f") == "does not exist"


def test_read_directory(tmp_path: Path) -> None:
    """A directory is no file."""
    assert refusal(tmp_path) == "cannot be read (Is a directory)"


@pytest.mark.timeout(10)
def test_read_fifo(tmp_path: Path) -> None:
    """A FIFO in a file's place is refused at once instead of waiting for a writer."""
    os.mkfifo(tmp_path / "f")
    assert refusal(tmp_path / "f") == "is not a regular file"


def test_read_too_large(tmp_path: Path) -> None:
    """A file over the limit is refused."""
    (tmp_path / "f").write_bytes(b"x" * (files.MAX_FILE_BYTES + 1))
    assert "larger" in refusal(tmp_path / "f")


def test_read_below_a_file(tmp_path: Path) -> None:
    """Any other reason the system has is repeated."""
    (tmp_path / "f").touch()
    assert refusal(tmp_path / "f" / "g") == "cannot be read (Not a directory)"


@pytest.mark.parametrize("rights", [0o640, 0o604, 0o610, 0o660, 0o644])
def test_open_key(tmp_path: Path, rights: int) -> None:
    """A private file that group or others may touch is refused with the command that mends it."""
    (tmp_path / "k").touch()
    (tmp_path / "k").chmod(rights)
    assert f"{rights:04o}" in refusal(tmp_path / "k", private=True)


@pytest.mark.parametrize("rights", [0o600, 0o400])
def test_closed_key(tmp_path: Path, rights: int) -> None:
    """A private file of its owner alone is read."""
    (tmp_path / "k").write_bytes(b"k")
    (tmp_path / "k").chmod(rights)
    assert files.read(tmp_path / "k", private=True) == b"k"


def test_unreadable(tmp_path: Path) -> None:
    """A file that this user may not read is named as such."""
    (tmp_path / "k").touch(mode=0)
    script = (
        "import os, sys; from pathlib import Path; from pki import errors, files\n"
        "os.chdir(sys.argv[1])\n"
        "me = os.geteuid()\n"
        "if me == 0: os.seteuid(65534)\n"
        "try: files.read(Path('k'))\n"
        "except errors.FileError as error: os.seteuid(me); print(error)\n"
    )
    tmp_path.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=True
    )
    assert "k: may not be read by this user" in done.stdout


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
def test_modes_are_exact(tmp_path: Path, umask: int) -> None:
    """Whatever the umask, a key is 0600, a certificate 0644 and a new directory 0700."""
    before = os.umask(umask)
    try:
        files.create([NewFile(tmp_path / "d/k", b"k", PRIVATE), NewFile(tmp_path / "d/c", b"c")])
    finally:
        os.umask(before)
    assert [mode(tmp_path / name) for name in ("d", "d/k", "d/c")] == [0o700, 0o600, 0o644]


def test_a_key_is_never_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key's file is created closed in one step, not closed afterwards."""
    seen = []
    monkeypatch.setattr(os, "fchmod", lambda descriptor, _: seen.append(os.fstat(descriptor).st_mode & 0o777))
    before = os.umask(0)
    try:
        files.create([NewFile(tmp_path / "k", b"k", PRIVATE)])
    finally:
        os.umask(before)
    assert seen == [0o600]


def test_never_overwrites(tmp_path: Path) -> None:
    """If one file exists none is created, and nothing else is left."""
    (tmp_path / "b").write_bytes(b"old")
    with pytest.raises(RefusedError, match="exists already"):
        files.create([NewFile(tmp_path / "a", b"new"), NewFile(tmp_path / "b", b"new")])
    assert [path.name for path in tmp_path.iterdir()] == ["b"]
    assert (tmp_path / "b").read_bytes() == b"old"


def test_never_follows_a_link(tmp_path: Path) -> None:
    """A symbolic link in a file's place is in the way, even one to nowhere."""
    (tmp_path / "k").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RefusedError):
        files.create([NewFile(tmp_path / "k", b"k", PRIVATE)])
    assert not (tmp_path / "elsewhere").exists()


def test_disk_full(tmp_path: Path) -> None:
    """A disk that fills up in the middle leaves no file, partial or whole."""
    script = (
        "import resource, signal, sys; from pathlib import Path; from pki import files, errors\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "new = [files.NewFile(Path(sys.argv[1]) / 'a', b'x'), files.NewFile(Path(sys.argv[1]) / 'b', b'x' * 2000)]\n"
        "try: files.create(new)\n"
        "except errors.FileError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path], capture_output=True, text=True, check=True
    )
    assert "b: cannot be written (File too large)" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_disk_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that does not reach the disk is not there."""

    def refuse(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(FileError, match="No space left on device"):
        files.create([NewFile(tmp_path / "a", b"x")])
    assert list(tmp_path.iterdir()) == []


def test_failed_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system that cannot link says so, and nothing stays."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    with pytest.raises(FileError, match="Operation not permitted"):
        files.create([NewFile(tmp_path / "a", b"x")])
    assert list(tmp_path.iterdir()) == []


def test_race(tmp_path: Path) -> None:
    """Of many that create one file at once exactly one wins, and what it wrote stands."""
    won = []

    def create(number: int) -> None:
        try:
            files.create(
                [NewFile(tmp_path / "k", b"%d" % number, PRIVATE), NewFile(tmp_path / "c", b"%d" % number)]
            )
        except RefusedError:
            return
        won.append(number)

    threads = [threading.Thread(target=create, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == dict.fromkeys(
        "kc", b"%d" % won[0]
    )


def test_directory_in_the_way(tmp_path: Path) -> None:
    """A file where the directory should be is an error that names it."""
    (tmp_path / "d").touch()
    with pytest.raises(FileError, match="is not a directory"):
        files.make_directory(tmp_path / "d")
    with pytest.raises(FileError, match="cannot be created"):
        files.make_directory(tmp_path / "d" / "e")


def test_directory_keeps_its_mode(tmp_path: Path) -> None:
    """A directory that exists is left as it is."""
    (tmp_path / "d").mkdir(mode=0o755)
    files.make_directory(tmp_path / "d")
    assert mode(tmp_path / "d") == 0o755


def test_lock_excludes(tmp_path: Path) -> None:
    """Who asks for a lock that is held waits for its holder, and no file is left behind."""
    order = []
    started = threading.Event()

    def second() -> None:
        started.set()
        with files.locked(tmp_path):
            order.append("second")

    with files.locked(tmp_path):
        thread = threading.Thread(target=second)
        thread.start()
        started.wait()
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert list(tmp_path.iterdir()) == []


def test_lock_of_nothing(tmp_path: Path) -> None:
    """A directory that is not there cannot be locked."""
    with pytest.raises(FileError, match="cannot be opened"), files.locked(tmp_path / "d"):
        pass
