"""An MCP server that follows the protocol to the letter and no further; it needs no package and starts at once.

Its first argument is how many pages its list of tools has, 0 for no end. What its tool answers is the second, as
JSON.
"""

from __future__ import annotations

import json
import sys
from typing import Any

PAGES, ANSWER = int(sys.argv[1]), json.loads(sys.argv[2])
TOOL = {"inputSchema": {"type": "object"}, "outputSchema": {"type": "object", "required": ["sum"]}}


def result(request: dict[str, Any]) -> dict[str, Any] | None:
    """Return the result of a request, or None where there is no such method."""
    params = request.get("params", {})
    if request["method"] == "initialize":
        about = {"name": "odd", "version": "1"}
        return {
            "protocolVersion": params["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": about,
        }
    if request["method"] == "tools/list":
        page = int(params.get("cursor") or 1)
        following = {} if page == PAGES else {"nextCursor": str(page + 1)}
        return {"tools": [{"name": f"tool{page}", **TOOL}], **following}
    return ANSWER if request["method"] == "tools/call" else None


for line in sys.stdin:
    request = json.loads(line)
    if "id" not in request:
        continue
    answer = result(request)
    reply = {"error": {"code": -32601, "message": "no"}} if answer is None else {"result": answer}
    print(json.dumps({"jsonrpc": "2.0", "id": request["id"], **reply}), flush=True)
