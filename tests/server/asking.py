"""How the tests ask any endpoint: with a body that it takes, as JSON or as a form."""

from base64 import b64decode

import msgspec

from inferpool.wire.openai import ENDPOINTS, FORM_ENDPOINTS
from inferpool.wire.sessions import Infer
from tests.server.rig import HOST, JSON, Exchange, Rig, chat_body

TYPED = ["messages", "responses"]
FORM_TYPE = "multipart/form-data; boundary=b0"


def form(model: str = "m", file: bytes = b"RIFF\xff\x00", stream: str = "false") -> bytes:
    """A form with a file, as a client would upload it."""
    parts = [b'Content-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\n' + file]
    for name, value in {"model": model, "stream": stream}.items():
        parts.append(b'Content-Disposition: form-data; name="%b"\r\n\r\n%b' % (name.encode(), value.encode()))
    return b"".join(b"--b0\r\n" + part + b"\r\n" for part in parts) + b"--b0--\r\n"


def ask(rig: Rig, endpoint: str, *, stream: bool = False, **headers: str) -> Exchange:
    """Begin a call of the endpoint with a body that it takes."""
    path = f"/v1/{endpoint}"
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if endpoint in FORM_ENDPOINTS:
        body = form(stream=str(stream).lower())
        return rig.open("POST", path, {**HOST, "content-type": FORM_TYPE, **named}, body)
    wish: dict[str, object] = {}
    if stream:
        wish = {"stream_format": "sse"} if endpoint == "audio/speech" else {"stream": True}
    return rig.open("POST", path, {**JSON, **named}, msgspec.json.encode({**chat_body(), **wish}))


def raw(infer: Infer) -> bytes:
    """The body as the worker got it."""
    return (infer.request or "").encode() if infer.request_base64 is None else b64decode(infer.request_base64)


ALL = [*ENDPOINTS, *FORM_ENDPOINTS]
