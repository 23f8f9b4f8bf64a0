"""SGLang's answers.

From its repository: `ModelCard`, `ErrorResponse` (flat, with `object`) in python/sglang/srt/entrypoints/openai/protocol.py;
`get_model_info` with `is_generation` in srt/entrypoints/http_server.py; an error within a stream by
`create_streaming_error_response` in srt/entrypoints/openai/serving_base.py, followed by `[DONE]`; the last chunk of a choice has
an empty delta with `matched_stop`.
"""

from tests.worker.published.engine import Published, Told, sse

_HEAD = '"id":"5c8e","object":"chat.completion.chunk","created":1760000000,"model":"meta-llama/Llama-3.1-8B-Instruct"'
_INFO = '"model_path":"m","tokenizer_path":"m","preferred_sampling_params":null,"weight_version":"default"'


def _chunk(delta: str, finish: str = "null", more: str = '"matched_stop":null') -> str:
    return f'{{{_HEAD},"choices":[{{"index":0,"delta":{delta},"logprobs":null,"finish_reason":{finish},{more}}}],"usage":null}}'


def info(*, generates: bool) -> Told:
    """What it tells of its model."""
    return Told(200, f'{{{_INFO},"is_generation":{str(generates).lower()}}}'.encode())


SGLANG = Published(
    make="SGLang",
    routes={
        "GET /v1/models": Told(
            200,
            b"""{"object":"list","data":[{"id":"meta-llama/Llama-3.1-8B-Instruct","object":"model","created":1760000000,
"owned_by":"sglang","root":"meta-llama/Llama-3.1-8B-Instruct","parent":null,"max_model_len":131072}]}""",
        ),
        "GET /get_model_info": info(generates=True),
    },
    elsewhere=Told(404, b'{"detail":"Not Found"}'),
    models=["meta-llama/Llama-3.1-8B-Instruct"],
    stream=sse(
        _chunk('{"role":"assistant","content":"","reasoning_content":null,"tool_calls":null}'),
        _chunk('{"role":null,"content":"Two","reasoning_content":null,"tool_calls":null}'),
        _chunk('{"role":null,"content":" words","reasoning_content":null,"tool_calls":null}'),
        _chunk(
            '{"role":null,"content":null,"reasoning_content":null,"tool_calls":null}', '"stop"', '"matched_stop":128009'
        ),
        f'{{{_HEAD},"choices":[],"usage":{{"prompt_tokens":12,"total_tokens":15,"completion_tokens":3,"prompt_tokens_details":null}}}}',
        "[DONE]",
    ),
    said="Two words",
    broken=sse(
        _chunk('{"role":null,"content":"Two"}'),
        '{"error":{"object":"error","message":"The request was aborted.","type":"InternalServerError","param":null,"code":500}}',
        "[DONE]",
    ),
    why="The request was aborted.",
    refusal=Told(
        400,
        b'{"object":"error","message":"Requested token count exceeds the context length.","type":"BadRequestError","param":null,"code":400}',
    ),
)
