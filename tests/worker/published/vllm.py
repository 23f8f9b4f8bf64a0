"""vLLM's answers.

From its repository: `ModelCard`, `ErrorResponse` in vllm/entrypoints/openai/engine/protocol.py; the routes of a model that only
pools by `build_app` in vllm/entrypoints/openai/api_server.py (routes are registered by `supported_tasks`); an error within a
stream by `create_streaming_error_response` in engine/serving.py, which `chat_completion_stream_generator` follows by `[DONE]`.
"""

from tests.worker.published.engine import Published, Told, sse

_HEAD = '"id":"chatcmpl-8f2a","object":"chat.completion.chunk","created":1762000000,"model":"Qwen/Qwen3-8B"'
_LIST = b"""{"object":"list","data":[{"id":"Qwen/Qwen3-8B","object":"model","created":1762000000,"owned_by":"vllm",
"root":"Qwen/Qwen3-8B","parent":null,"max_model_len":40960,"permission":[{"id":"modelperm-1","object":"model_permission"}]},
{"id":"sql-lora","object":"model","created":1762000000,"owned_by":"vllm","root":"/adapters/sql","parent":"Qwen/Qwen3-8B"}]}"""


def _chunk(delta: str, finish: str = "null") -> str:
    return f'{{{_HEAD},"choices":[{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{finish},"token_ids":null}}]}}'


def openapi(*paths: str) -> Told:
    """Its own description with these routes."""
    told = ",".join(f'"{path}":{{"post":{{}}}}' for path in ("/health", "/v1/models", *paths))
    return Told(200, f'{{"openapi":"3.1.0","info":{{"title":"FastAPI"}},"paths":{{{told}}}}}'.encode())


POOLING = openapi("/v1/embeddings", "/pooling")
SCORING = openapi("/v1/embeddings", "/rerank", "/v1/rerank", "/score")
SPEECH = openapi("/v1/audio/transcriptions", "/v1/audio/translations")
KEY_WANTED = Told(401, b'{"error":"Unauthorized"}')
"""`AuthenticationMiddleware` of api_server.py, with `--api-key`."""

VLLM = Published(
    make="vLLM",
    routes={
        "GET /v1/models": Told(200, _LIST),
        "GET /openapi.json": openapi("/v1/chat/completions", "/v1/completions", "/v1/responses"),
    },
    elsewhere=Told(404, b'{"detail":"Not Found"}'),
    models=["Qwen/Qwen3-8B", "sql-lora"],
    stream=sse(
        _chunk('{"role":"assistant","content":""}'),
        _chunk('{"reasoning_content":"Colours."}'),
        _chunk('{"content":"It is"}'),
        _chunk('{"content":" red."}', '"stop"'),
        f'{{{_HEAD},"choices":[],"usage":{{"prompt_tokens":9,"total_tokens":14,"completion_tokens":5}}}}',
        "[DONE]",
    ),
    said="It is red.",
    broken=sse(
        _chunk('{"content":"It is"}'),
        '{"error":{"message":"EngineCore encountered an issue.","type":"InternalServerError","param":null,"code":500}}',
        "[DONE]",
    ),
    why="EngineCore encountered an issue.",
    refusal=Told(
        404,
        b'{"error":{"message":"The model `nope` does not exist.","type":"NotFoundError","param":"model","code":404}}',
    ),
)
OLDER_ERROR = (
    b'{"object":"error","message":"The model `nope` does not exist.","type":"NotFoundError","param":null,"code":404}'
)
"""Releases before 0.10 (`ErrorResponse` in protocol.py)."""
