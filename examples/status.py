"""Ask a node how it is: python examples/status.py HOST:PORT PKI_DIR."""

import asyncio
import sys

import tndrl
from tndrl.v1.control_pb2 import GetStatusRequest, NodeState
from tndrl.v1.control_pb2_grpc import ControlServiceStub


async def main(target: str, pki_dir: str) -> None:
    async with tndrl.connect(target, pki_dir=pki_dir) as peer:
        stub = ControlServiceStub(peer.channel(tndrl.StreamType.CONTROL))
        status = await stub.GetStatus(GetStatusRequest())
        print(f"{status.identity}: {NodeState.Name(status.state)} for {status.uptime_seconds} s")


asyncio.run(main(*sys.argv[1:3]))
