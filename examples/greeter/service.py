"""Run a node with a service of its own: python examples/greeter/service.py NODE.yaml."""

import asyncio
import sys

import grpc

import tndrl
from greeter_pb2 import HelloRequest, HelloResponse
from greeter_pb2_grpc import GreeterServicer, add_GreeterServicer_to_server


class Greeter(GreeterServicer):
    async def Hello(self, request: HelloRequest, context: grpc.ServicerContext) -> HelloResponse:
        return HelloResponse(text=f"Hello {request.name}, you are {tndrl.peer_identity(context)}")


async def main(config_file: str) -> None:
    node = tndrl.Node(tndrl.load_config(config_file))
    node.add_service(0x10, lambda server: add_GreeterServicer_to_server(Greeter(), server))
    await node.serve()


asyncio.run(main(sys.argv[1]))
