"""The limit of a sync call: a bare Starlette endpoint that reads JSON, answers JSON, does nothing else."""

import argparse

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route


async def answer(request: Request) -> Response:
    """Answer as the scripted engine would."""
    asked = msgspec.json.decode(await request.body())
    text = asked["messages"][0]["content"]
    body = {
        "id": "chatcmpl-scripted",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "scripted",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": text[:14] + "x" * 755}, "finish_reason": "stop"}
        ],
        "usage": {"prompt_tokens": 200, "completion_tokens": 200, "total_tokens": 400},
    }
    return Response(msgspec.json.encode(body), media_type="application/json")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    app = Starlette(routes=[Route("/v1/chat/completions", answer, methods=["POST"])])
    uvicorn.run(
        app, port=parser.parse_args().port, loop="uvloop", http="httptools", log_level="error", access_log=False
    )
