"""What a registration must look like before the store sees it."""

import re
from typing import Final

from inferpool.core.access import Limits
from inferpool.core.errors import Forbidden, InvalidRequest, ProtocolUnsupported
from inferpool.core.llm import NAME_LIMIT
from inferpool.core.session import PROTOCOL, LlmOffer
from inferpool.wire.sessions import RegisterRequest
from inferpool.wire.tasks import check_endpoint

LLM_LIMIT: Final = 1000
"""Llms that one session may publish."""
SLOT_LIMIT: Final = 10_000
"""Slots of one engine."""
HOLDING_LIMIT: Final = 100_000
"""Attempts that one registration may list."""
TEXT_LIMIT: Final = 1000
"""Characters of a model id, of an engine's address."""
SECRET_MIN: Final = 16
"""Characters of a session's secret."""

_SESSION_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_OWN_ROUTE: Final = "/infer"
"""Below an llm's own address stands what asks it."""
_RESERVED: Final = ("tier:", "agent:")


def check_registration(request: RegisterRequest, secret: str | None) -> None:
    """Raises `ProtocolUnsupported`, or `InvalidRequest` with the field at fault."""
    if request.protocol != PROTOCOL:
        who = "server" if request.protocol > PROTOCOL else "worker"
        raise ProtocolUnsupported(
            f"the worker speaks protocol {request.protocol}, this server {PROTOCOL}: upgrade the {who}"
        )
    if request.session_id is not None:
        _check_identity(request.session_id, secret)
    if request.epoch < 1:
        raise InvalidRequest("`epoch` starts at 1", param="epoch")
    if len(request.llms) > LLM_LIMIT:
        raise InvalidRequest(f"a session publishes at most {LLM_LIMIT} llms", param="llms")
    if len(request.holding) > HOLDING_LIMIT:
        raise InvalidRequest(f"`holding` lists at most {HOLDING_LIMIT} attempts", param="holding")
    _check_name(request.worker.name, "worker.name")
    _check_llms(request.llms)


def check_limits(request: RegisterRequest, limits: Limits) -> None:
    """Raises `Forbidden` for an llm that the worker's token may not publish."""
    for number, llm in enumerate(request.llms):
        pool = llm.pool_name or llm.name
        if not limits.lets_publish(llm.name, pool, llm.tier):
            raise Forbidden(
                f"this token may not publish {llm.name!r} in the pool {pool!r}"
                f"{' with a tier' if llm.tier else ''}: it is limited to other llms or pools",
                param=f"llms[{number}].name",
            )


def _check_identity(session_id: str, secret: str | None) -> None:
    if not _SESSION_ID.fullmatch(session_id):
        raise InvalidRequest("`session_id` must be a UUID in lower case", param="session_id")
    if secret is None or len(secret) < SECRET_MIN:
        raise InvalidRequest(f"a session id comes with a secret of at least {SECRET_MIN} characters in its header")


def _check_llms(llms: list[LlmOffer]) -> None:
    seen: set[str] = set()
    for number, llm in enumerate(llms):
        where = f"llms[{number}]"
        _check_name(llm.name, f"{where}.name")
        if llm.name.startswith(_RESERVED):
            raise InvalidRequest(f"names that begin with {' or '.join(_RESERVED)} are reserved", param=f"{where}.name")
        if llm.name in seen:
            raise InvalidRequest(f"{llm.name!r} is listed twice", param=f"{where}.name")
        seen.add(llm.name)
        for field, value in (("pool_name", llm.pool_name), ("tier", llm.tier)):
            if value is not None:
                _check_name(value, f"{where}.{field}")
        _check_engine(llm, where)
        if not 0 <= llm.slots <= SLOT_LIMIT:
            raise InvalidRequest(f"`slots` must be from 0 to {SLOT_LIMIT}", param=f"{where}.slots")


def _check_engine(llm: LlmOffer, where: str) -> None:
    """What is said of the engine: it may be any text, within reason."""
    if llm.name.endswith(_OWN_ROUTE):
        raise InvalidRequest(f"names that end in {_OWN_ROUTE} are reserved", param=f"{where}.name")
    if not 1 <= len(llm.model) <= TEXT_LIMIT:
        raise InvalidRequest(
            f"an llm needs the engine's model id, of at most {TEXT_LIMIT} characters", param=f"{where}.model"
        )
    if len(llm.engine) > TEXT_LIMIT:
        raise InvalidRequest(f"`engine` has at most {TEXT_LIMIT} characters", param=f"{where}.engine")
    for endpoint in llm.endpoints or ():
        try:
            check_endpoint(endpoint)
        except InvalidRequest as error:
            raise InvalidRequest(
                "`endpoints` are paths below /v1/, such as chat/completions", f"{where}.endpoints"
            ) from error


def _check_name(name: str, param: str) -> None:
    if not name or len(name) > NAME_LIMIT or not name.isprintable() or name != name.strip():
        raise InvalidRequest(f"a name is 1 to {NAME_LIMIT} printable characters, no space around", param=param)
