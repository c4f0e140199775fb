"""``python -m bench``: run the benchmark; the other commands are its own processes."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
INSIDE = "TNDRL_BENCH_INSIDE"
"""Set in the process that runs in a network of its own."""


def main() -> int:
    """Run what the command line says."""
    options = _parser().parse_args()
    result = options.run(options)
    return int(result or 0)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.set_defaults(run=_bench)
    parser.add_argument("--quick", action="store_true", help="two minutes instead of fifteen")
    parser.add_argument("--only", default="", help="keys of scenarios, with commas between them")
    parser.add_argument("--out", type=Path, default=ROOT / "bench-results")
    parser.add_argument("--page", type=Path, help="also write the page of the run there")
    parser.add_argument("--seed", type=int, default=1)
    commands = parser.add_subparsers()
    serve = commands.add_parser("serve")
    serve.add_argument("peer")
    serve.add_argument("--dir", type=Path, required=True)
    serve.add_argument("--host", required=True)
    serve.add_argument("--params", default="{}")
    serve.set_defaults(run=_serve)
    drive = commands.add_parser("drive")
    drive.add_argument("scenario")
    drive.add_argument("peer")
    drive.set_defaults(run=_drive)
    forward = commands.add_parser("forward")
    forward.add_argument("left")
    forward.add_argument("right")
    forward.add_argument("--link", required=True)
    forward.set_defaults(run=_forward)
    render = commands.add_parser("render", help="write report and page of a run again")
    render.add_argument("results", type=Path)
    render.add_argument("--page", type=Path)
    render.set_defaults(run=_render)
    call = commands.add_parser("call")
    call.add_argument("peer")
    call.add_argument("address")
    call.add_argument("--dir", type=Path, required=True)
    call.set_defaults(run=_call)
    return parser


def _bench(options: argparse.Namespace) -> int:
    from bench.lab import isolated

    if INSIDE not in os.environ and (command := isolated()) is not None:
        # A network of its own: nothing else's packets are counted, and a plain user may make more of them.
        os.environ[INSIDE] = "1"
        script = f'ip link set lo up && exec "{sys.executable}" -m bench "$@"'
        arguments = [*command, "sh", "-c", script, "bench", *sys.argv[1:]]
        os.execvp(arguments[0], arguments)  # noqa: S606  # it becomes the run
    from bench.run import run

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what it started ends with it
    return run(options, lab_allowed=INSIDE in os.environ)


def _serve(options: argparse.Namespace) -> None:
    from bench.model import Peer
    from bench.serve import serve

    asyncio.run(serve(Peer(options.peer), options.dir, options.host, json.loads(options.params)))


def _drive(options: argparse.Namespace) -> None:
    from bench.counters import sent
    from bench.model import Ground, Peer
    from bench.scenarios import scenario

    told = json.load(sys.stdin)
    ground = Ground(told["host"], told["port"], Path(told["folder"]), told["params"], told["served"])
    before = sent()
    figures = asyncio.run(_driven(scenario(options.scenario).drive, Peer(options.peer), ground))
    crossed = {name: number - before[name] for name, number in sent().items()}
    print(json.dumps({"figures": figures, "sent": crossed}))


async def _driven(drive: Any, peer: Any, ground: Any) -> Any:
    return await drive(peer, ground)


def _forward(options: argparse.Namespace) -> None:
    from bench.forward import forward
    from bench.model import Link

    forward(options.left, options.right, Link.of(json.loads(options.link)))


def _render(options: argparse.Namespace) -> None:
    from bench.results import Results
    from bench.run import render

    render(Results.read(options.results), options.results.with_name("report.html"), options.page)


def _call(options: argparse.Namespace) -> None:
    from bench.model import Ground, Peer
    from bench.peers import make_of

    host, _, port = options.address.rpartition(":")

    async def call() -> None:
        async with make_of(Peer(options.peer)).connecting(
            Ground(host, int(port), options.dir, {}, {})
        ) as connection:
            await connection.ping()

    asyncio.run(call())


if __name__ == "__main__":
    sys.exit(main())
