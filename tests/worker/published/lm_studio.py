"""LM Studio's answers.

Models by its documentation, "REST API v0", `GET /api/v0/models`; the list of its OpenAI-compatible routes names
`organization_owner`. A route that it does not have is answered 200 with an error (lmstudio-ai/lmstudio-bug-tracker, issue
1323). An error within a stream has the message twice (zendev-sh/goai, pull request 110); errors may be a bare string.
"""

from tests.worker.published.engine import Published, Told, sse

_HEAD = '"id":"chatcmpl-x1","object":"chat.completion.chunk","created":1745000000,"model":"meta-llama-3.1-8b-instruct","system_fingerprint":"meta-llama-3.1-8b-instruct"'
_LIST = b"""{"data":[{"id":"qwen2-vl-7b-instruct","object":"model","owned_by":"organization_owner"},
{"id":"meta-llama-3.1-8b-instruct","object":"model","owned_by":"organization_owner"},
{"id":"text-embedding-nomic-embed-text-v1.5","object":"model","owned_by":"organization_owner"}],"object":"list"}"""
_KNOWN = b"""{"object":"list","data":[
{"id":"qwen2-vl-7b-instruct","object":"model","type":"vlm","publisher":"mlx-community","arch":"qwen2_vl",
"compatibility_type":"mlx","quantization":"4bit","state":"not-loaded","max_context_length":32768},
{"id":"meta-llama-3.1-8b-instruct","object":"model","type":"llm","publisher":"lmstudio-community","arch":"llama",
"compatibility_type":"gguf","quantization":"Q4_K_M","state":"not-loaded","max_context_length":131072},
{"id":"text-embedding-nomic-embed-text-v1.5","object":"model","type":"embeddings","publisher":"nomic-ai","arch":"nomic-bert",
"compatibility_type":"gguf","quantization":"Q4_0","state":"not-loaded","max_context_length":2048}]}"""


def _chunk(delta: str, finish: str = "null") -> str:
    return f'{{{_HEAD},"choices":[{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{finish}}}]}}'


LM_STUDIO = Published(
    make="LM Studio",
    routes={"GET /v1/models": Told(200, _LIST), "GET /api/v0/models": Told(200, _KNOWN)},
    elsewhere=Told(200, b'{"error":"Unexpected endpoint or method. (GET /props)"}'),
    models=["qwen2-vl-7b-instruct", "meta-llama-3.1-8b-instruct", "text-embedding-nomic-embed-text-v1.5"],
    alone={"text-embedding-nomic-embed-text-v1.5": ["embeddings"]},
    stream=sse(
        _chunk('{"role":"assistant","content":"Hi"}'),
        _chunk('{"role":"assistant","content":" there"}'),
        _chunk("{}", '"stop"'),
        f'{{{_HEAD},"choices":[],"usage":{{"prompt_tokens":4,"completion_tokens":2,"total_tokens":6}}}}',
        "[DONE]",
    ),
    said="Hi there",
    broken=sse(_chunk('{"content":"Hi"}'), '{"error":{"message":"Compute error."},"message":"Compute error."}'),
    why="Compute error.",
    refusal=Told(404, b'{"error":"Model not found: nope"}'),
)
