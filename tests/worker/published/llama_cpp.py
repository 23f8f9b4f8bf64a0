"""The answers of llama.cpp's llama-server.

Lists, properties, refusals: from the real one (see examples/engine.py), shortened. Its tools/server/README.md names 503
"Loading model" (`GET /health`), `total_slots` (`GET /props`), the router's `status` (`GET /models`). A stream that goes wrong:
tools/server, `format_oaicompat` error frames; releases of 2024 wrote them as an SSE field `error:`, which no parser knows.
"""

from tests.worker.published.engine import Published, Told, sse

_HEAD = '"created":1795520458,"id":"chatcmpl-ZHJ","model":"smollm2-135m","object":"chat.completion.chunk"'
_LIST = b"""{"models":[{"name":"smollm2-135m","model":"smollm2-135m","type":"model","capabilities":["completion"]}],
"object":"list","data":[{"id":"smollm2-135m","object":"model","created":1795520458,"owned_by":"llamacpp",
"meta":{"vocab_type":2,"n_vocab":49152,"n_ctx_train":8192,"n_embd":576,"n_params":134515008,"size":96576768}}]}"""


def _chunk(delta: str, finish: str = "null") -> str:
    return f'{{"choices":[{{"finish_reason":{finish},"index":0,"delta":{delta}}}],{_HEAD}}}'


def refused(message: str) -> Told:
    """What it answers to a use that it was not started for."""
    return Told(501, f'{{"error":{{"code":501,"message":"{message}","type":"not_supported_error"}}}}'.encode())


NO_COMPLETIONS = refused("This server does not support completions. Start it without `--embeddings`")
LACKING = Told(400, b'{"error":{"code":400,"message":"\\"input\\" must be provided","type":"invalid_request_error"}}')
NO_POOLING = Told(
    400,
    b"""{"error":{"code":400,"message":"Pooling type 'none' is not OAI compatible. Please use a different pooling type",
"type":"invalid_request_error"}}""",
)
LOADING = Told(503, b'{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}')
ROUTER_LIST = Told(
    200,
    b"""{"object":"list","data":[{"id":"ggml-org/gemma-3-4b-it-GGUF:Q4_K_M","object":"model","owned_by":"llamacpp",
"created":1764276000,"in_cache":true,"status":{"value":"unloaded"}}]}""",
)
OLD_ERROR = sse(_chunk('{"content":"Once"}')) + b'error: {"code":500,"message":"context shift is disabled"}\n\n'

LLAMA_CPP = Published(
    make="llama.cpp",
    routes={
        "GET /v1/models": Told(200, _LIST),
        "GET /props": Told(200, b'{"default_generation_settings":{},"total_slots":2,"model_alias":"smollm2-135m"}'),
        "POST /v1/embeddings": refused("This server does not support embeddings. Start it with `--embeddings`"),
        "POST /v1/rerank": refused("This server does not support reranking. Start it with `--reranking`"),
        "POST /v1/chat/completions": LACKING,
    },
    elsewhere=Told(404, b'{"error":{"message":"File Not Found","type":"not_found_error","code":404}}'),
    models=["smollm2-135m"],
    slots=2,
    stream=sse(
        _chunk('{"role":"assistant","content":null}'),
        _chunk('{"content":"Once upon"}'),
        _chunk('{"content":" a time"}'),
        _chunk("{}", '"length"'),
        f'{{"choices":[],{_HEAD},"usage":{{"completion_tokens":4,"prompt_tokens":31,"total_tokens":35}},"timings":{{"prompt_n":31}}}}',
        "[DONE]",
    ),
    said="Once upon a time",
    broken=sse(
        _chunk('{"content":"Once"}'),
        '{"error":{"code":500,"message":"Context size has been exceeded.","type":"server_error"}}',
    ),
    why="Context size has been exceeded.",
    refusal=Told(400, b'{"error":{"code":400,"message":"model not found","type":"invalid_request_error"}}'),
)
