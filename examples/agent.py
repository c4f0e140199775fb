"""Ask a node's agent and read the answer as it comes: python examples/agent.py HOST:PORT PKI_DIR PROMPT."""

import asyncio
import sys

import tndrl


async def main(target: str, pki_dir: str, prompt: str) -> None:
    async with tndrl.connect(target, pki_dir=pki_dir) as peer, peer.agent() as agent:
        async for event in agent.stream(prompt):
            print("".join(part.text for part in event.artifact_update.artifact.parts), end="", flush=True)
        print()


asyncio.run(main(*sys.argv[1:4]))
