"""The limits of fields that their types do not tell, as the OpenAPI document tells them."""

from collections.abc import Mapping
from typing import Final, TypeAlias, get_args

from inferpool.core.access import SUBJECT_LIMIT
from inferpool.core.clock import SECOND
from inferpool.core.llm import NAME_LIMIT
from inferpool.core.session import PROTOCOL
from inferpool.core.stream import EVENT_ID
from inferpool.core.task import MAX_TRIES_LIMIT
from inferpool.dispatch.admission import HOLDING_LIMIT, LLM_LIMIT, SLOT_LIMIT, TEXT_LIMIT
from inferpool.wire.openai import METADATA_KEY_LIMIT, METADATA_PAIRS, METADATA_VALUE_LIMIT
from inferpool.wire.sessions import EVENT_NAMES, Event
from inferpool.wire.tasks import ENDPOINT_LIMIT, ENDPOINT_PATTERN, EXPIRY_LIMIT
from inferpool.wire.tokens import EXPIRY_MOST, NAMES_MOST

Schema: TypeAlias = dict[str, object]

UUID: Final = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
EVENT: Final[Schema] = {
    "description": "Server-sent events: these are the fields of each.",
    "properties": {
        "data": {"type": "string"},
        "event": {"type": "string"},
        "id": {"type": "string", "pattern": f"^{EVENT_ID}$"},
    },
}

_NAME: Final[Schema] = {"minLength": 1, "maxLength": NAME_LIMIT}
_ENDPOINT: Final[Schema] = {"pattern": f"^{ENDPOINT_PATTERN}$", "maxLength": ENDPOINT_LIMIT}
_REFERENCE: Final = "#/components/schemas/{}"
_NOVEL: Final[Schema] = {
    "description": "An event of a newer worker; it is ignored.",
    "type": "object",
    "properties": {"type": {"type": "string", "not": {"enum": sorted(EVENT_NAMES)}}},
    "required": ["type"],
}
_EVENTS: Final[list[Schema]] = [{"$ref": _REFERENCE.format(kind.__name__)} for kind in get_args(Event)]
_NAMES: Final[Schema] = {"maxItems": NAMES_MOST, "items": {"type": "string", **_NAME}}
_LABELS: Final[Schema] = {
    "maxProperties": METADATA_PAIRS,
    "propertyNames": {"minLength": 1, "maxLength": METADATA_KEY_LIMIT},
    "additionalProperties": {"type": "string", "maxLength": METADATA_VALUE_LIMIT},
}

_FIELDS: Final[Mapping[str, Mapping[str, Schema]]] = {
    **{kind: {"metadata": _LABELS} for kind in ("ChatBody", "LabelledBody", "ResponsesBody")},
    "EventsRequest": {"events": {"items": {"anyOf": [*_EVENTS, _NOVEL]}}},
    "FormBody": {"model": {"minLength": 1}},
    "NewTaskRequest": {
        "endpoint": _ENDPOINT,
        "request": {"type": "object", "description": "The body that the endpoint takes."},
        "metadata": _LABELS,
        "expires_in_s": {"exclusiveMinimum": 0, "maximum": EXPIRY_LIMIT // SECOND},
        "max_tries": {"minimum": 1, "maximum": MAX_TRIES_LIMIT},
    },
    "RegisterRequest": {
        "protocol": {"const": PROTOCOL},
        "session_id": {"pattern": UUID},
        "epoch": {"minimum": 1},
        "llms": {"maxItems": LLM_LIMIT},
        "holding": {"maxItems": HOLDING_LIMIT},
    },
    "WorkerInfo": {"name": _NAME},
    "LlmOffer": {
        **dict.fromkeys(("name", "tier", "pool_name"), _NAME),
        "model": {"minLength": 1, "maxLength": TEXT_LIMIT},
        "engine": {"maxLength": TEXT_LIMIT},
        "slots": {"minimum": 0, "maximum": SLOT_LIMIT},
        "endpoints": {"items": {"type": "string", **_ENDPOINT}},
    },
    "NewTokenRequest": {
        "subject": {"minLength": 1, "maxLength": SUBJECT_LIMIT},
        "expires_in_s": {"minimum": 1, "maximum": EXPIRY_MOST // SECOND},
        "llms": _NAMES,
        "pools": _NAMES,
    },
}
"""By the struct's name, by the field's."""


def refine(components: Mapping[str, Schema]) -> None:
    """Add the limits to the schemas of these structs, in place."""
    for name, fields in _FIELDS.items():
        properties = components[name]["properties"]
        if isinstance(properties, dict):
            for field, limits in fields.items():
                properties[field].update(limits)
