"""``tndrl-pki``: issues, signs, inspects and verifies the identities of nodes.

The command line only: what it does stands in the package ``pki``, imported when a command runs, so that ``--help``
is quick. Exit codes: 0 done; 1 refused, failed, or not valid; 2 the command line cannot be used.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pki.errors import PkiError
from pki.spiffe import DEFAULT_TRUST_DOMAIN, node_id, parse_trust_domain
from pki_cli.output import Output, output_option, table

if TYPE_CHECKING:
    from pki.authority import Grant

_Command = TypeVar("_Command", bound=Callable[..., Any])

EPILOG = "Exit codes: 0 done; 1 refused, failed or not valid; 2 the command line cannot be used."
CONTEXT = {"help_option_names": ["-h", "--help"]}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; an error is one line on stderr, never a traceback."""
    output = Output()
    try:
        with warnings.catch_warnings():
            # The library warns about odd certificates; what is odd about one is ours to say.
            warnings.simplefilter("ignore")
            code = cli.main(arguments, prog_name="tndrl-pki", standalone_mode=False, obj=output)
        sys.stdout.flush()
    except click.ClickException as error:
        return _fail(output, _usage_message(error), 2)
    except click.Abort:
        return _fail(output, "interrupted", 130)
    except PkiError as error:
        return _fail(output, str(error), 1)
    except BrokenPipeError:
        # Whoever read has gone; without this the interpreter would complain at exit.
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        return 1
    except Exception as error:
        return _fail(output, f"this is a bug, please report it: {type(error).__name__}: {error}", 1)
    return code if isinstance(code, int) else 0


def _fail(output: Output, message: str, code: int) -> int:
    output.error(message, code)
    return code


def _usage_message(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    command = context.command_path if context else "tndrl-pki"
    return f"{error.format_message().rstrip('.')}; see: {command} --help"


def checked(parse: Callable[[str], Any]) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """Return a click callback that parses one or several values, and turns our errors into usage errors."""

    def callback(_context: click.Context, _parameter: click.Parameter, value: Any) -> Any:
        try:
            if isinstance(value, tuple):
                return tuple(map(parse, value))
            return None if value is None else parse(value)
        except PkiError as error:
            raise click.BadParameter(str(error)) from error

    return callback


def _name(text: str) -> str:
    node_id(DEFAULT_TRUST_DOMAIN, text)
    return text


def _dns_name(text: str) -> str:
    from pki.hosts import parse_dns_name

    return parse_dns_name(text)


def _address(text: str) -> str:
    from pki.hosts import parse_address

    return str(parse_address(text))


def _lifetime(text: str) -> timedelta:
    from pki.authority import parse_lifetime

    return parse_lifetime(text)


def directory_option(command: _Command) -> _Command:
    """Add ``--dir``: where ``ca.crt`` and ``ca.key`` are."""
    option = click.option(
        "--dir",
        "directory",
        type=click.Path(path_type=Path, file_okay=False),
        default=lambda: Path.home() / ".tndrl" / "pki",
        show_default="~/.tndrl/pki",
        envvar="TNDRL_PKI_DIR",
        show_envvar=True,
        help="The directory of ca.crt and ca.key.",
    )
    return option(command)


def grant_options(command: _Command) -> _Command:
    """Add what is granted beside the name: ``--dns``, ``--ip``, ``--lifetime``."""
    lifetime = click.option(
        "--lifetime",
        callback=checked(_lifetime),
        default="365d",
        show_default=True,
        metavar="TIME",
        help="How long it is valid: a number and d, h, m or s.",
    )
    ips = click.option(
        "--ip",
        "ips",
        multiple=True,
        callback=checked(_address),
        metavar="ADDR",
        help="An IP address it is for, besides 127.0.0.1 and ::1. Repeatable.",
    )
    dns = click.option(
        "--dns",
        multiple=True,
        callback=checked(_dns_name),
        metavar="HOST",
        help="A host name it is for, besides localhost. Repeatable.",
    )
    return dns(ips(lifetime(command)))


name_argument = click.argument("name", callback=checked(_name))
file_argument = click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))


@click.group(context_settings=CONTEXT, epilog=EPILOG, no_args_is_help=False)
@click.version_option(package_name="tndrl", message="tndrl-pki %(version)s")
@output_option
def cli() -> None:
    """Make a certificate authority, issue identities to nodes, look at certificates."""


@cli.command()
@directory_option
@click.option(
    "--trust-domain",
    callback=checked(parse_trust_domain),
    default=DEFAULT_TRUST_DOMAIN,
    show_default=True,
    metavar="NAME",
    help="The trust domain that the CA vouches for.",
)
@output_option
@click.pass_obj
def init(output: Output, directory: Path, trust_domain: str) -> None:
    """Create a certificate authority: ca.crt and ca.key. Never overwrites."""
    from pki import authority

    grant = authority.init(directory, trust_domain)
    _print_grant(output, grant, {"ca_key": str(directory / "ca.key")})


@cli.command()
@name_argument
@directory_option
@grant_options
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    show_default="the CA's directory",
    help="The directory for tndrl.crt and tndrl.key.",
)
@output_option
@click.pass_obj
def issue(
    output: Output,
    name: str,
    directory: Path,
    dns: tuple[str, ...],
    ips: tuple[str, ...],
    lifetime: timedelta,
    out: Path | None,
) -> None:
    """Issue a node's identity: tndrl.crt and tndrl.key for spiffe://TRUST-DOMAIN/node/NAME. Never overwrites."""
    from pki import authority

    grant = authority.issue(directory, name, dns=dns, ips=ips, lifetime=lifetime, out=out)
    _print_grant(output, grant, {"key": str(grant.path.with_name("tndrl.key"))})


@cli.command()
@name_argument
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="The directory for tndrl.key and tndrl.csr.",
)
@output_option
@click.pass_obj
def csr(output: Output, name: str, out: Path) -> None:
    """Make a key and a request for a node: tndrl.key, which stays, and tndrl.csr, for the CA to sign."""
    from pki import authority

    path = authority.make_csr(name, out)
    fields = {"request": str(path), "key": str(out / "tndrl.key")}
    output.result({"name": name} | fields, table(name, fields))


@cli.command()
@click.argument("csr", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@directory_option
@grant_options
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="FILE",
    help="The file for the certificate.",
)
@output_option
@click.pass_obj
def sign(
    output: Output,
    csr: Path,
    directory: Path,
    dns: tuple[str, ...],
    ips: tuple[str, ...],
    lifetime: timedelta,
    out: Path,
) -> None:
    """Sign a node's request. Its key and its name are taken from it, nothing else."""
    from pki import authority

    _print_grant(output, authority.sign(csr, directory, out, dns=dns, ips=ips, lifetime=lifetime), {})


@cli.command()
@file_argument
@output_option
@click.pass_obj
def inspect(output: Output, file: Path) -> None:
    """Show what stands in a file of certificates or requests."""
    from pki.describe import describe

    found = describe(file)
    lines = [line for one in found for line in table(str(one["kind"]), {k: one[k] for k in list(one)[1:]})]
    output.result({"file": str(file), "content": found}, lines)


@cli.command()
@file_argument
@click.option(
    "--ca",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    show_default="ca.crt beside FILE",
    help="The CA certificates to trust.",
)
@click.option(
    "--usage",
    type=click.Choice(["server", "client"]),
    show_default="both",
    help="The role it must be valid in.",
)
@output_option
@click.pass_obj
def verify(output: Output, file: Path, ca: Path | None, usage: str | None) -> int:
    """Apply every rule that a node applies to a peer's certificate, and name each one that is broken."""
    from pki.describe import examine
    from pki.svid import Usage

    report = examine(file, ca or file.with_name("ca.crt"), [Usage(usage)] if usage else list(Usage))
    lines = []
    for role, found in report.found.items():
        lines += [
            f"{role.value}: {one.message} [{one.rule}, alert {one.alert} {one.alert.name}]" for one in found
        ]
        lines += [] if found else [f"{role.value}: valid as {report.identity}"]
    value = {
        "file": str(file),
        "valid": report.ok,
        "identity": str(report.identity) if report.identity else None,
        "violations": {
            role.value: [{"rule": v.rule, "alert": v.alert.name, "message": v.message} for v in found]
            for role, found in report.found.items()
        },
    }
    output.result(value, lines)
    return 0 if report.ok else 1


def _print_grant(output: Output, grant: Grant, files: dict[str, str]) -> None:
    from pki.describe import describe_certificate

    granted = describe_certificate(grant.certificate)
    fields: dict[str, object] = {"certificate": str(grant.path), **files}
    fields |= {name: granted[name] for name in ("dns", "ips", "not_before", "not_after", "sha256")}
    output.result({"identity": str(grant.spiffe_id)} | fields, table(str(grant.spiffe_id), fields))
