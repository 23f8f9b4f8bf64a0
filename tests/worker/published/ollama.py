"""Ollama's answers.

From its repository: the list by `ToListCompletion`, chunks by `ToChunk`, errors by `NewError` in openai/openai.go; what it
does to a stream by `ChatWriter` in middleware/openai.go: an error after the first chunk (`{"error": …}` of streamResponse,
server/routes.go) is read there as an empty answer, so the stream ends without `[DONE]`. Version and capabilities by
docs/api.md, "Version", "Show Model Information".
"""

from tests.worker.published.engine import Published, Told, sse

_HEAD = '"id":"chatcmpl-811","object":"chat.completion.chunk","created":1734000000,"model":"llama3.2:latest","system_fingerprint":"fp_ollama"'
_LIST = b"""{"object":"list","data":[
{"id":"llama3.2:latest","object":"model","created":1733990000,"owned_by":"library"},
{"id":"nomic-embed-text:latest","object":"model","created":1733980000,"owned_by":"library"},
{"id":"hf.co/bartowski/Qwen2.5-3B-GGUF:Q4_K_M","object":"model","created":1733970000,"owned_by":"hf.co/bartowski"}]}"""


def _chunk(content: str, finish: str = "null") -> str:
    delta = f'{{"role":"assistant","content":"{content}"}}'
    return f'{{{_HEAD},"choices":[{{"index":0,"delta":{delta},"finish_reason":{finish}}}]}}'


OLLAMA = Published(
    make="Ollama",
    routes={
        "GET /v1/models": Told(200, _LIST),
        "GET /api/version": Told(200, b'{"version":"0.5.1"}'),
        "POST /api/show": Told(200, b'{"details":{"family":"llama"},"capabilities":["completion","tools"]}'),
        "POST /api/show nomic-embed-text:latest": Told(
            200, b'{"details":{"family":"nomic-bert"},"capabilities":["embedding"]}'
        ),
    },
    elsewhere=Told(404, b"404 page not found", "text/plain"),
    models=["llama3.2:latest", "nomic-embed-text:latest", "hf.co/bartowski/Qwen2.5-3B-GGUF:Q4_K_M"],
    alone={"nomic-embed-text:latest": ["embeddings"]},
    stream=sse(
        _chunk("The sky"),
        _chunk(" is blue."),
        _chunk("", '"stop"'),
        f'{{{_HEAD},"choices":[],"usage":{{"prompt_tokens":26,"completion_tokens":5,"total_tokens":31}}}}',
        "[DONE]",
    ),
    said="The sky is blue.",
    broken=sse(_chunk("The sky"), _chunk("")),
    why="ended without its end mark",
    refusal=Told(
        404,
        b'{"error":{"message":"model \\"nope\\" not found, try pulling it first","type":"not_found_error","param":null,"code":null}}\n',
    ),
)
EMPTY_LIST = Told(200, b'{"object":"list","data":null}\n')
"""`ToListCompletion` with no model: a Go slice that was never made is null."""
OLDER_SHOW = Told(200, b'{"modelfile":"# Modelfile","details":{"family":"nomic-bert"}}')
"""A release that does not tell capabilities yet."""
