"""Call the greeter of a node: python examples/greeter/client.py HOST:PORT PKI_DIR NAME."""

import asyncio
import sys

import tndrl
from greeter_pb2 import HelloRequest
from greeter_pb2_grpc import GreeterStub


async def main(target: str, pki_dir: str, name: str) -> None:
    async with tndrl.connect(target, pki_dir=pki_dir) as peer:
        response = await GreeterStub(peer.channel(0x10)).Hello(HelloRequest(name=name))
        print(response.text)


asyncio.run(main(*sys.argv[1:4]))
