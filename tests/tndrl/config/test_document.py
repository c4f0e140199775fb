"""Reading YAML files."""

import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tndrl.config.document import MAX_BYTES, MAX_DEPTH, MAX_VALUES, read_document
from tndrl.errors import ConfigError

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{previous}'] * 9)}]\n"
    for previous, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.fixture
def read(tmp_path):
    """Reads text or bytes as a file."""

    def read(content):
        path = tmp_path / "node.yaml"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_document(path)

    return read


@pytest.fixture
def refused(read):
    """Reads a file that is refused in under a second; returns the error."""

    def refused(content):
        began = time.perf_counter()
        with pytest.raises(ConfigError) as caught:
            read(content)
        assert time.perf_counter() - began < 1
        assert caught.value.source.endswith("node.yaml")
        return caught.value

    return refused


def plain(value):
    """Return a value as ordinary Python data."""
    if isinstance(value.content, dict):
        return {key: plain(item) for key, item in value.content.items()}
    return [plain(item) for item in value.content] if isinstance(value.content, list) else value.content


@pytest.mark.parametrize("text", ["", "\n\n", "# nothing\n", "---\n", "null\n", "---\n...\n"])
def test_empty(read, text):
    """A file that says nothing is an empty mapping."""
    assert read(text).content == {}


def test_shapes(read):
    """Mappings, lists and text are read; numbers stay text and null is nothing."""
    assert plain(read('a: [1, "x", yes, ~]\nb: {c: }\n')) == {"a": ["1", "x", "yes", None], "b": {"c": None}}


def test_quotes_are_remembered(read):
    """Quoted text is not plain, and quoted nothing is empty text."""
    entries = read("a: 1\nb: '1'\nc: ''\nd: !!str 1\n").content
    assert [entries[key].plain for key in "abcd"] == [True, False, False, False]
    assert entries["c"].content == ""


def test_lines(read):
    """A value's line is that of its key, an item's its own."""
    root = read("a:\n  b: 1\n  c:\n    - x\n    - y\n").content
    assert (root["a"].line, root["a"].content["b"].line) == (1, 2)
    assert [item.line for item in root["a"].content["c"].content] == [4, 5]


def test_byte_order_mark(read):
    """A UTF-8 byte order mark is skipped."""
    assert plain(read(b"\xef\xbb\xbfa: b\n")) == {"a": "b"}


def test_aliases_and_merge_keys(read):
    """Aliases repeat a value; ``<<`` brings in what is not there, of several mappings the earlier."""
    text = "a: &a {x: 1, y: 1}\nb: &b {x: 2, z: 2}\nc: {<<: *a, y: 3}\nd: {<<: [*a, *b]}\n"
    root = plain(read(text))
    assert root["c"] == {"x": "1", "y": "3"}
    assert root["d"] == {"x": "1", "y": "1", "z": "2"}


@pytest.mark.parametrize(
    ("text", "line", "problem"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, "the key 'a' stands on line 1 already"),
        ("a:\n\tb: 1\n", 2, "a tab where YAML wants spaces; indent with spaces"),
        ("a: 1\nb: [1\n", 3, "not YAML"),
        ("a: 'x\n", 2, "not YAML"),
        ("a: b: c\n", 1, "not YAML"),
        ("%YAML 9.9\n---\na: 1\n", 1, "not YAML"),
        ("a: 1\nb: \0\n", 2, "has a control character"),
        ("a: 1\n---\nb: 2\n", 2, "a second document starts here"),
        (
            "a: 1\nb: !!python/name:os.system x\n",
            2,
            "the tag 'tag:yaml.org,2002:python/name:os.system' is not allowed",
        ),
        ("a: !secret x\n", 1, "the tag '!secret' is not allowed"),
        ("[a]: b\n", 1, "a key must be text"),
        ("a: 1\n*a : 2\n", 2, "a key must be text"),
        ("a: *b\n", 1, "the alias '*b' stands before its anchor '&b' is complete"),
        ("a: &a [*a]\n", 1, "the alias '*a' stands before"),
        ("a: {<<: 1}\n", 1, "'<<' merges mappings only"),
    ],
)
def test_malformed(refused, text, line, problem):
    """Malformed files are refused with the line and the cause."""
    error = refused(text)
    assert error.line == line
    assert problem in error.problem


def test_not_utf8(refused):
    """Text in another encoding is refused with the line of its first wrong byte."""
    error = refused("a: 1\nb: é\n".encode("latin-1"))
    assert (error.line, error.problem) == (2, "is not UTF-8 text; save it as UTF-8")


@pytest.mark.parametrize("text", ["[" * 1_000_000, "{a: " * 100_000, "- " * 100_000])
def test_too_deep(refused, text):
    """Nesting ends at a fixed depth, however deep the file goes on."""
    assert f"more than {MAX_DEPTH} levels" in refused(text).problem


@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        "[" + "x, " * MAX_VALUES + "]",
        "a: &a {" + ", ".join(f"k{n}: 1" for n in range(3000)) + "}\nb: [" + "{<<: *a}, " * 50_000 + "]",
    ],
    ids=["bomb", "wide", "merges"],
)
def test_too_many_values(refused, text):
    """Values are counted while they are read, aliases in full."""
    assert f"more than {MAX_VALUES:,} values" in refused(text).problem


def test_too_big(refused):
    """A file of 10 MB is refused unread."""
    assert "is larger than 1 MiB" in refused(b"a: b\n" * 2_000_000).problem


def test_biggest(read):
    """A file of exactly the limit is read."""
    assert plain(read(b"a: b\n#" + b"x" * (MAX_BYTES - 6))) == {"a": "b"}


def test_endless():
    """A device that never ends is not read to its end."""
    with pytest.raises(ConfigError, match="is larger than"):
        read_document(Path("/dev/zero"))


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("missing.yaml", "there is no such file"),
        ("", "is a directory"),
        ("x" * 300, "cannot be read: File name too long"),
        ("nul\0", "cannot be read: embedded null byte"),
    ],
)
def test_unusable_path(tmp_path, name, problem):
    """A path that is no file is refused with the reason."""
    with pytest.raises(ConfigError, match=problem):
        read_document(tmp_path / name)


@pytest.fixture
def unreadable(tmp_path):
    """A file without any permission, while root's rights are given up."""
    path = tmp_path / "node.yaml"
    path.touch(mode=0)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    yield path
    if root:
        os.seteuid(0)


def test_unreadable(unreadable):
    """A file that this user may not read is refused with the reason."""
    with pytest.raises(ConfigError, match="may not read it"):
        read_document(unreadable)


@given(st.text(alphabet="ab:-[]{}&*!<>|'\"#?,\n\t% \0\x85é", max_size=60))
def test_any_text(tmp_path_factory, text):
    """No file gets anything but a value or a ``ConfigError`` with its line out of the reader."""
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_text(text, encoding="utf-8")
    lines = [1]
    try:
        plain(read_document(path))
    except ConfigError as exc:
        lines.append(exc.line)
    assert all(lines)
