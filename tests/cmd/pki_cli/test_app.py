from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pki import describe
from pki_cli import app
from support import certs

COMMAND = Path(sys.executable).with_name("tndrl-pki")


@pytest.fixture
def ca(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert app.main(["init", "--dir", str(tmp_path / "ca")]) == 0
    capsys.readouterr()
    return tmp_path / "ca"


@pytest.fixture
def node(tmp_path: Path) -> Path:
    return certs.write_pki_dir(tmp_path / "node")


def fails(capsys: pytest.CaptureFixture[str], code: int, *arguments: str | Path) -> str:
    """Run a command that must end with this code and one line on stderr; return the line."""
    assert app.main([str(argument) for argument in arguments]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("tndrl-pki: ")
    assert err.count("\n") == 1
    return err


def works(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """Run a command that must succeed in silence on stderr; return what it printed."""
    assert app.main([str(argument) for argument in arguments]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_init(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Init makes a CA and says where."""
    out = works(capsys, "init", "--dir", tmp_path / "ca", "--trust-domain", "prod")
    assert out.startswith("spiffe://prod\n")
    assert (tmp_path / "ca" / "ca.key").exists()


def test_init_twice(ca: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Init never overwrites."""
    assert "exists already" in fails(capsys, 1, "init", "--dir", ca)


def test_directory_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without --dir the directory is that of the variable, or the usual one under home."""
    monkeypatch.setenv("TNDRL_PKI_DIR", str(tmp_path / "pki"))
    works(capsys, "init")
    monkeypatch.delenv("TNDRL_PKI_DIR")
    monkeypatch.setenv("HOME", str(tmp_path))
    works(capsys, "init")
    assert (tmp_path / "pki" / "ca.crt").exists()
    assert (tmp_path / ".tndrl" / "pki" / "ca.crt").exists()


def test_issue(ca: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Issue says what it granted and where it is."""
    out = works(
        capsys,
        *("issue", "web", "--dir", ca, "--out", tmp_path / "web", "--lifetime", "12h", "-o", "json"),
        *("--dns", "a.example", "--dns", "b.example", "--ip", "192.0.2.7"),
    )
    granted = json.loads(out)
    assert granted["identity"] == "spiffe://tndrl/node/web"
    assert granted["dns"] == ["localhost", "a.example", "b.example"]
    assert granted["ips"] == ["127.0.0.1", "::1", "192.0.2.7"]
    assert Path(granted["key"]).exists()
    assert Path(granted["certificate"]).exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["a/b"], "'a/b' is not a valid node name"),
        ([""], "is not a valid node name"),
        (["web", "--dns", "a b"], "'a b' is not a DNS name"),
        (["web", "--ip", "300.1.1.1"], "'300.1.1.1' is not an IP address"),
        (["web", "--lifetime", "1 year"], "'1 year' is not a lifetime"),
        (["web", "--bogus"], "No such option"),
        ([], "Missing argument 'NAME'"),
    ],
)
def test_bad_arguments(ca: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    """An argument that cannot be used is exit code 2, with where to read on."""
    line = fails(capsys, 2, "issue", "--dir", ca, *arguments)
    assert said in line
    assert "see: tndrl-pki issue --help" in line


def test_lifetime_past_the_ca(ca: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A lifetime past the CA's end is refused, and the longest one named (TLS-57)."""
    assert "--lifetime 36" in fails(capsys, 1, "issue", "web", "--dir", ca, "--lifetime", "4000d")


def test_issue_without_ca(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a CA the file that is missing is named."""
    assert "ca.crt: does not exist" in fails(capsys, 1, "issue", "web", "--dir", tmp_path)


def test_csr_sign_verify(ca: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A request is made, looked at, signed, and the certificate verifies."""
    web = tmp_path / "web"
    assert "tndrl.csr" in works(capsys, "csr", "web", "--out", web)
    assert "signature valid  yes" in works(capsys, "inspect", web / "tndrl.csr")
    out = works(
        capsys, "sign", web / "tndrl.csr", "--dir", ca, "--out", web / "tndrl.crt", "--dns", "w.example"
    )
    assert out.startswith("spiffe://tndrl/node/web\n")
    assert "localhost, w.example" in out
    assert "valid as" in works(capsys, "verify", web / "tndrl.crt", "--ca", ca / "ca.crt")


@pytest.mark.parametrize("command", [("csr", "web"), ("sign", __file__)])
def test_out_is_required(capsys: pytest.CaptureFixture[str], command: tuple[str, str]) -> None:
    """Where csr and sign write has to be said."""
    assert "--out" in fails(capsys, 2, *command)


def test_inspect(node: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Inspect shows a certificate to people and to programs."""
    text = works(capsys, "inspect", node / "tndrl.crt")
    content = json.loads(works(capsys, "inspect", node / "tndrl.crt", "-o", "json"))["content"]
    assert content == describe.describe(node / "tndrl.crt")
    assert all(str(value) in text for value in content[0].values() if isinstance(value, str))


def test_inspect_escapes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A certificate cannot write to a person's terminal."""
    (tmp_path / "f").write_bytes(certs.leaf(name="a\x1b[2Jb", dns=["\x1b[2J"]).pem)
    assert "\x1b" not in works(capsys, "inspect", tmp_path / "f")
    assert "\x1b" not in works(capsys, "inspect", tmp_path / "f", "-o", "json")


def test_inspect_odd_certificate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What the library warns about is shown without its warning."""
    odd = certs.resign(certs.leaf(), certs.world().root, certs._set(certs.SERIAL, b"\x02\x01\xff"))
    (tmp_path / "f").write_bytes(odd.pem)
    assert "serial" in works(capsys, "inspect", tmp_path / "f")


def test_inspect_missing_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is not there is a usage error."""
    assert "does not exist" in fails(capsys, 2, "inspect", tmp_path / "f")


def test_verify(node: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Verify finds the CA beside the file and asks for both roles."""
    assert works(capsys, "verify", node / "tndrl.crt").splitlines() == [
        f"server: valid as {certs.NODE}",
        f"client: valid as {certs.NODE}",
    ]


def test_verify_names_each_failure(node: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every broken rule is a line with its name and alert, and the exit code is 1."""
    certs.write_pki_dir(node, certs.leaf(ca=True, eku=[certs.Eku.CLIENT_AUTH]))
    assert app.main(["verify", str(node / "tndrl.crt"), "--usage", "server"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [re.findall(r"\[(.*)\]", line) for line in lines] == [
        ["leaf-is-ca, alert 42 bad_certificate"],
        ["extended-key-usage, alert 43 unsupported_certificate"],
    ]


def test_verify_json(node: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """For programs the violations stand under their role."""
    certs.write_pki_dir(node, certs.leaf(eku=[certs.Eku.CLIENT_AUTH]))
    assert app.main(["-o", "json", "verify", str(node / "tndrl.crt")]) == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["valid"], report["identity"]) == (False, certs.NODE)
    assert [len(report["violations"][role]) for role in ("server", "client")] == [1, 0]


@pytest.mark.parametrize("name", certs.BAD)
def test_verify_refuses_every_bad_chain(node: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    """Whatever nodes refuse, verify refuses with exit code 1 and no traceback."""
    made = certs.BAD[name].make(certs.Usage.SERVER)
    (node / "tndrl.crt").write_bytes(made.chain_pem if made else b"")
    assert app.main(["verify", str(node / "tndrl.crt"), "--usage", "server"]) == 1
    assert "bug" not in capsys.readouterr().err


def test_json_error(capsys: pytest.CaptureFixture[str]) -> None:
    """With -o json an error is an object too."""
    assert app.main(["-o", "json", "inspect"]) == 2
    assert json.loads(capsys.readouterr().err)["error"]["code"] == 2


def test_no_command(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a command there is nothing to do, which is a usage error."""
    assert "Missing command" in fails(capsys, 2)


def test_bug(node: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An exception nobody thought of is one line as well."""
    monkeypatch.setattr(describe, "describe", lambda path: 1 / 0)
    assert "this is a bug" in fails(capsys, 1, "inspect", node / "tndrl.crt")


def test_interrupt(node: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An interrupt ends quietly with code 130."""

    def interrupt(path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(describe, "describe", interrupt)
    assert app.main(["inspect", str(node / "tndrl.crt")]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    """Version and help are answered on stdout with code 0."""
    assert re.fullmatch(r"tndrl-pki \d+\.\d+\.\d+\S*\n", works(capsys, "--version"))
    assert "verify" in works(capsys, "-h")


def test_installed_command(tmp_path: Path) -> None:
    """The installed command works and returns its exit code."""
    done = subprocess.run([COMMAND, "init", "--dir", tmp_path / "ca"], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    done = subprocess.run([COMMAND, "init", "--dir", tmp_path / "ca"], capture_output=True, check=False)
    assert done.returncode == 1


def test_reader_gone(node: Path) -> None:
    """A reader that goes away gets no traceback."""
    script = f"'{COMMAND}' inspect '{node}/tndrl.crt' 2>'{node}/err' | true"
    subprocess.run(["sh", "-c", script], check=True)
    assert (node / "err").read_text() == ""


def test_broken_pipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a broken pipe nothing more is written, and the code is 1."""

    def broken(*_: object, **__: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(app.cli, "main", broken)
    with (tmp_path / "out").open("w") as out, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        assert app.main([]) == 1
        out.write("more")
    assert (tmp_path / "out").read_text() == ""


def test_help_is_light() -> None:
    """Help does not load cryptography."""
    script = "import sys; from pki_cli import app; app.main(['--help']); print('cryptography' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


@pytest.mark.serial
def test_help_is_quick() -> None:
    """Help comes within 0.25 s."""
    start = time.perf_counter()
    subprocess.run([COMMAND, "--help"], capture_output=True, check=True)
    assert time.perf_counter() - start <= 0.25
