"""Server-sent events: the parser of what arrives, the frames of what is sent.

The rules are those of the HTML living standard, section 9.2 ("Server-sent events"), which the official clients follow.
"""

from typing import Final

import msgspec

from inferpool.core.errors import ProtocolBroken

EVENT_LIMIT: Final = 16 * 1024 * 1024
"""Bytes that one event may have: more than any engine's whole answer, less than what hurts a worker."""

_BOM: Final = b"\xef\xbb\xbf"
_PLAIN: Final = b"data: "
_MESSAGE: Final = "message"


class EventTooLarge(ProtocolBroken):
    """An event, or a line that never ends, is over the parser's limit."""


class SseEvent(msgspec.Struct, frozen=True):
    """One event: its data, its name (`message` where the stream gives none), the last id that the stream told."""

    data: str
    name: str = _MESSAGE
    id: str = ""


class SseParser:
    """Turns the bytes of one stream into events, wherever the bytes are cut.

    An event counts when its blank line has come. What is not UTF-8 becomes U+FFFD; `retry` is not obeyed.
    """

    __slots__ = ("_after_cr", "_at_start", "_id", "_limit", "_parts", "_size")

    def __init__(self, limit: int = EVENT_LIMIT) -> None:
        self._limit = limit
        self._parts: list[bytes] = []
        self._size = 0
        self._id = ""
        self._at_start = True
        self._after_cr = False

    def feed(self, piece: bytes) -> list[SseEvent]:
        """The events that `piece` completes. Raises `EventTooLarge`; the stream is of no use then."""
        if self._after_cr or b"\r" in piece:
            piece = self._with_plain_line_ends(piece)
        self._parts.append(piece)
        self._size += len(piece)
        if b"\n" not in piece:
            self._check(self._size)
            return []
        blocks = self._whole().split(b"\n\n")
        self._keep(_without_comments(blocks.pop()))
        events: list[SseEvent] = []
        for block in blocks:
            if block.startswith(_PLAIN) and b"\n" not in block:
                self._check(len(block))
                events.append(SseEvent(block[6:].decode("utf-8", "replace"), _MESSAGE, self._id))
            else:
                self._read(block, events)
        return events

    def _with_plain_line_ends(self, piece: bytes) -> bytes:
        """Every line end as LF. A CR ends its line at once; the LF that may follow in the next piece is its second half."""
        if self._after_cr and piece.startswith(b"\n"):
            piece = piece[1:]
            self._after_cr = False
        if piece:
            self._after_cr = piece.endswith(b"\r")
        return piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")

    def _whole(self) -> bytes:
        """All that is not read yet, in one piece, without the byte order mark of the stream's start."""
        whole = b"".join(self._parts)
        if self._at_start:
            self._at_start = False
            whole = whole.removeprefix(_BOM)
        return whole

    def _keep(self, rest: bytes) -> None:
        self._check(len(rest))
        self._parts = [rest] if rest else []
        self._size = len(rest)

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise EventTooLarge(f"the peer sent an event of more than {self._limit} bytes")

    def _read(self, block: bytes, events: list[SseEvent]) -> None:
        """Read the lines of a block, at whose end a blank line stands."""
        self._check(len(block))
        data: list[str] = []
        name = _MESSAGE
        for line in f"{block.decode('utf-8', 'replace')}\n".split("\n"):
            if not line:
                if data:
                    events.append(SseEvent("\n".join(data), name, self._id))
                data, name = [], _MESSAGE
                continue
            field, _, value = line.partition(":")
            value = value.removeprefix(" ")
            if field == "data":
                data.append(value)
            elif field == "event":
                name = value or _MESSAGE
            elif field == "id" and "\0" not in value:
                self._id = value


def _without_comments(rest: bytes) -> bytes:
    """The rest without the comments at its start, so that keep-alives without a blank line do not pile up."""
    while rest.startswith(b":") and (end := rest.find(b"\n")) >= 0:
        rest = rest[end + 1 :]
    return rest


# ---- frames -----------------------------------------------------------------------------------------------------------


class _Typed(msgspec.Struct, frozen=True):
    type: str = ""
    error: msgspec.Raw = msgspec.Raw()


_decode_typed: Final = msgspec.json.Decoder(_Typed).decode


def lines_of(payload: str) -> list[str]:
    """The payload split where an event stream would end a line: at CR, LF, or both."""
    return payload.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def data_frame(payload: str, event: str | None = None, event_id: str | None = None) -> bytes:
    """One event. Line ends of the payload become lines of `data`, so that no payload can write lines of its own.

    Raises `ValueError` for an event or id that would.
    """
    head = "" if event is None else f"event: {_one_line(event)}\n"
    if event_id is not None:
        head += f"id: {_one_line(event_id)}\n"
    if "\n" in payload or "\r" in payload:
        payload = "\ndata: ".join(lines_of(payload))
    return f"{head}data: {payload}\n\n".encode()


def typed_frame(payload: str) -> bytes:
    """A payload of `responses` or `messages` under its own `type`: their clients skip frames without an `event:` line."""
    return data_frame(payload, _event_name(payload))


def _event_name(payload: str) -> str | None:
    """The payload's type; `error` for an error without one; None where there is nothing to go by."""
    try:
        typed = _decode_typed(payload)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    name = typed.type or ("error" if bytes(typed.error) not in {b"", b"null"} else "")
    return name if name and name.isprintable() else None


def comment(text: str, *, blank_line: bool = False) -> bytes:
    """A comment, which keeps a connection alive. Raises `ValueError` for a text of several lines.

    OpenAI's routes need it without the blank line: their clients take the two together for an empty event.
    """
    return f": {_one_line(text)}\n{chr(10) * blank_line}".encode()


def _one_line(text: str) -> str:
    if "\n" in text or "\r" in text or "\0" in text:
        raise ValueError(f"a field of a server-sent event must stand in one line: {text!r}")
    return text
