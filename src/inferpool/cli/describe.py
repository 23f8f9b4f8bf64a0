"""`inferpool describe`: everything about one thing, or about each of a few."""

import sys
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Final, NamedTuple, TypeAlias

import msgspec
import typer

from inferpool.cli.complete import llm_names, pool_names, session_ids, task_ids
from inferpool.cli.exits import EXIT_CODES
from inferpool.cli.output import Output, OutputFlag, plain, print_facts, print_value
from inferpool.cli.remote import LimitFlag, ServerFlag, TokenFlag, ask
from inferpool.cli.shapes import pool_llms, session_state, task_state, token_limits, token_state, waited
from inferpool.cli.times import short, spelled
from inferpool.client.native import NativeClient
from inferpool.wire.registry import LlmJson, PoolJson, SessionJson
from inferpool.wire.tasks import AttemptJson, InferenceTask, from_rfc3339
from inferpool.wire.tokens import TokenJson

app = typer.Typer(
    no_args_is_help=True,
    help="Show all about a task, an llm, a session or a token.",
    epilog=f"$ inferpool describe task ID\n\n{EXIT_CODES}",
)

BODY_LINES: Final = 40
"""Lines of a body that are shown; `-o json` shows all."""


class Story(NamedTuple):
    """A task with its attempts."""

    task: InferenceTask
    attempts: list[AttemptJson]


async def stories(client: NativeClient, name: str | None, limit: int) -> list[Story]:
    """One task, or the newest ones, each with its history."""
    names = [name] if name is not None else [task.id for task in await client.tasks({}, limit)]
    return [Story(await client.task(one), await client.attempts(one)) for one in names]


_TASKS_HELP: Final = (
    "Examples:\n\n$ inferpool describe tasks 0198f2a0-7c11-7d3e-8f7a-5f2f6f0d9f11\n\n"
    "$ inferpool describe tasks --limit 3 -o yaml\n\n" + EXIT_CODES
)
_LLMS_HELP: Final = "Examples:\n\n$ inferpool describe llms qwen3@office\n\n" + EXIT_CODES
_POOLS_HELP: Final = "Examples:\n\n$ inferpool describe pool qwen3\n\n" + EXIT_CODES
_SESSIONS_HELP: Final = "Examples:\n\n$ inferpool describe sessions -o yaml\n\n" + EXIT_CODES

_TOKENS_HELP: Final = "Examples:\n\n$ inferpool describe tokens -o yaml\n\n" + EXIT_CODES


@app.command("tasks", epilog=_TASKS_HELP)
def tasks(
    name: Annotated[
        str | None, typer.Argument(metavar="ID", help="the task; without it the newest ones", autocompletion=task_ids)
    ] = None,
    limit: LimitFlag = 10,
    output: OutputFlag = None,
    server: ServerFlag = None,
    token: TokenFlag = None,
) -> None:
    """Show a task with its request, its answer, each of its attempts."""
    told = ask(server, token, partial(stories, name=name, limit=limit))
    if output in {Output.JSON, Output.YAML}:
        values = [{"task": plain(one.task), "attempts": plain(one.attempts)} for one in told]
        print_value(values[0] if name is not None else {"data": list(values)}, output or Output.JSON)
        return
    _print_each([(one.task.id, task_facts(one.task) + attempt_facts(one.attempts)) for one in told], output)


@app.command("llms", epilog=_LLMS_HELP)
def llms(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="the llm; without it all", autocompletion=llm_names)
    ] = None,
    limit: LimitFlag = 100,
    output: OutputFlag = None,
    server: ServerFlag = None,
    token: TokenFlag = None,
) -> None:
    """Show an llm: who publishes it, what it serves."""
    told = ask(server, token, partial(NativeClient.llms, limit=limit)) if name is None else []
    things = told if name is None else [ask(server, token, partial(NativeClient.llm, name=name))]
    _print_structs(things, [(llm.name, llm_facts(llm)) for llm in things], output, one=name is not None)


@app.command("pools", epilog=_POOLS_HELP)
def pools(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="the pool; without it all", autocompletion=pool_names)
    ] = None,
    limit: LimitFlag = 100,
    output: OutputFlag = None,
    server: ServerFlag = None,
    token: TokenFlag = None,
) -> None:
    """Show a pool: its llms, what runs there, what waits for how long."""
    told = ask(server, token, partial(NativeClient.pools, limit=limit)) if name is None else []
    things = told if name is None else [ask(server, token, partial(NativeClient.pool, name=name))]
    _print_structs(things, [(pool.name, pool_facts(pool)) for pool in things], output, one=name is not None)


@app.command("sessions", epilog=_SESSIONS_HELP)
def sessions(
    name: Annotated[
        str | None, typer.Argument(metavar="ID", help="the session; without it all", autocompletion=session_ids)
    ] = None,
    limit: LimitFlag = 100,
    output: OutputFlag = None,
    server: ServerFlag = None,
    token: TokenFlag = None,
) -> None:
    """Show a worker's session."""
    told = ask(server, token, partial(NativeClient.sessions, limit=limit)) if name is None else []
    things = told if name is None else [ask(server, token, partial(NativeClient.session, session_id=name))]
    _print_structs(things, [(one.id, session_facts(one)) for one in things], output, one=name is not None)


@app.command("tokens", epilog=_TOKENS_HELP)
def tokens(
    name: Annotated[str | None, typer.Argument(metavar="ID", help="the token; without it all")] = None,
    limit: LimitFlag = 100,
    output: OutputFlag = None,
    server: ServerFlag = None,
    token: TokenFlag = None,
) -> None:
    """Show whom a token stands for; never what it is."""
    told = ask(server, token, partial(NativeClient.tokens, limit=limit)) if name is None else []
    things = told if name is None else [ask(server, token, partial(NativeClient.token, token_id=name))]
    _print_structs(things, [(one.id, token_facts(one)) for one in things], output, one=name is not None)


for _word, _command, _help in (
    ("task", tasks, _TASKS_HELP),
    ("llm", llms, _LLMS_HELP),
    ("pool", pools, _POOLS_HELP),
    ("session", sessions, _SESSIONS_HELP),
    ("token", tokens, _TOKENS_HELP),
):
    app.command(_word, hidden=True, epilog=_help)(_command)  # as one says it of a single thing


Facts: TypeAlias = list[tuple[str, str]]


def _print_structs(
    things: Sequence[msgspec.Struct], told: Sequence[tuple[str, Facts]], output: Output | None, *, one: bool
) -> None:
    if output in {Output.JSON, Output.YAML}:
        print_value(plain(things[0]) if one else {"data": plain(things)}, output or Output.JSON)
    else:
        _print_each(told, output)


def _print_each(told: Sequence[tuple[str, Facts]], output: Output | None) -> None:
    for place, (name, facts) in enumerate(told):
        if output is Output.NAME:
            sys.stdout.write(name + "\n")
            continue
        if place:
            sys.stdout.write("\n")
        print_facts([(head, said) for head, said in facts if said not in {"", "-"} or output is Output.WIDE])


def task_facts(task: InferenceTask) -> Facts:
    """A task's fields in the order in which one asks for them."""
    usage = task.usage
    return [
        ("Task", task.id),
        ("Status", task_state(task)),
        ("Error", task.error.message if task.error else ""),
        ("Position", _position(task)),
        ("Model", task.model),
        ("Lane", task.lane),
        ("Endpoint", task.endpoint + (" (streamed)" if task.streaming else "")),
        ("Owner", task.owner),
        ("Priority", task.priority),
        ("Attempt", f"{task.attempt} (tries used: {task.tries} of {task.max_tries})"),
        ("Held by", task.claimed_by or "-"),
        ("Lost by", task.lost_by or "-"),
        ("Created", spelled(task.created_at)),
        ("Claimed", spelled(task.claimed_at)),
        ("Started", spelled(task.stream_started_at)),
        ("Ended", spelled(task.completed_at)),
        ("Expires", spelled(task.expires_at) if task.completed_at is None else "-"),
        ("Usage", f"{usage.prompt_tokens} + {usage.completion_tokens} tokens" if usage else "-"),
        ("Metadata", "\n".join(f"{key}: {value}" for key, value in task.metadata.items())),
        ("Request", _body(task.request, task.request_base64)),
        ("Response", _response(task)),
    ]


def _position(task: InferenceTask) -> str:
    return f"{task.queue_position} in its lane" if isinstance(task.queue_position, int) else "-"


def _response(task: InferenceTask) -> str:
    if not isinstance(task.response, msgspec.Struct):
        return "-"
    return (
        f"{task.response.status} {task.response.content_type}\n{_body(task.response.body, task.response.body_base64)}"
    )


def _body(json: msgspec.Raw | msgspec.UnsetType, base64: str | msgspec.UnsetType) -> str:
    """A body as a person reads it, its first lines."""
    if isinstance(json, msgspec.UnsetType):
        return "-" if isinstance(base64, msgspec.UnsetType) else f"{len(base64) * 3 // 4} bytes that are not JSON"
    lines = msgspec.json.format(bytes(json), indent=2).decode().splitlines()
    more = [f"… {len(lines) - BODY_LINES} more lines (-o json shows all)"] if len(lines) > BODY_LINES else []
    return "\n".join(lines[:BODY_LINES] + more) + "\n"


def attempt_facts(attempts: Sequence[AttemptJson]) -> Facts:
    """The history, a line an attempt that has ended."""
    return [("Attempts", "".join(_attempt(one) + "\n" for one in attempts))] if attempts else []


def _attempt(one: AttemptJson) -> str:
    took = (from_rfc3339(one.ended_at) - from_rfc3339(one.started_at)) / 1_000_000
    why = f": {one.code}, {one.message}" if one.code else ""
    cost = ", cost a try" if one.counted else ""
    lasted = f"{took:.1f}s" if took < 60 else short(took)
    return f"{one.attempt}  {one.ending} after {lasted} on {one.llm_name or '-'} (session {one.session_id}){cost}{why}"


def llm_facts(llm: LlmJson) -> Facts:
    """An llm's fields."""
    return [
        ("Llm", llm.name),
        ("Status", llm.status.value),
        ("Pool", llm.pool),
        ("Tier", llm.tier or "-"),
        ("Kind", llm.kind.value),
        ("Model", llm.model),
        ("Type", llm.type),
        ("Engine", llm.engine),
        ("Slots", str(llm.slots)),
        ("Endpoints", ", ".join(llm.endpoints) if llm.endpoints else "any"),
        ("Session", llm.session_id or "-"),
        ("Extra", "\n".join(f"{key}: {value}" for key, value in llm.extra.items())),
        ("Published", spelled(llm.created_at)),
        ("Updated", spelled(llm.updated_at)),
    ]


def pool_facts(pool: PoolJson) -> Facts:
    """A pool's fields."""
    members = "".join(f"{one.name}: {one.status.value}, {one.slots} slots\n" for one in pool.members)
    return [
        ("Pool", pool.name),
        ("Active", f"{pool_llms(pool)} llms"),
        ("Slots", str(pool.slots)),
        ("Running", str(pool.running)),
        ("Pending", str(pool.pending)),
        ("Oldest waits", waited(pool.oldest_wait_s)),
        ("Next waits", f"about {waited(pool.expected_wait_s)}" if pool.expected_wait_s is not None else "-"),
        ("Llms", members),
    ]


def session_facts(session: SessionJson) -> Facts:
    """A session's fields."""
    return [
        ("Session", session.id),
        ("Status", session_state(session)),
        ("Worker", session.worker.name),
        ("Version", session.worker.version),
        ("Labels", "\n".join(f"{key}: {value}" for key, value in session.worker.labels.items())),
        ("Epoch", str(session.epoch)),
        ("Subject", session.subject),
        ("Server", session.server_id),
        ("Created", spelled(session.created_at)),
        ("Registered", spelled(session.registered_at)),
        ("Seen", spelled(session.seen_at)),
        ("Inactive", spelled(session.inactive_at)),
    ]


def token_facts(token: TokenJson) -> Facts:
    """A token's fields."""
    return [
        ("Token", token.id),
        ("Status", token_state(token)),
        ("Subject", token.subject),
        ("Role", token.role.value),
        ("Limits", token_limits(token)),
        ("Created", spelled(token.created_at)),
        ("Expires", spelled(token.expires_at)),
        ("Revoked", spelled(token.revoked_at)),
        ("Last used", token.last_used_on or "-"),
    ]
