"""`inferpool get`: lists, or one thing as a line of a list."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Final, TypeAlias, TypeVar

import msgspec
import typer

from inferpool.cli.complete import llm_names, pool_names, session_ids, task_ids
from inferpool.cli.exits import EXIT_CODES
from inferpool.cli.output import Output, OutputFlag, Shape, plain, print_things, print_value
from inferpool.cli.remote import LimitFlag, ServerFlag, TokenFlag, ask
from inferpool.cli.shapes import LLMS, POOLS, SESSIONS, TASKS, TOKENS
from inferpool.client.native import NativeClient
from inferpool.client.pages import Query
from inferpool.core.lifecycle import Status

T = TypeVar("T", bound=msgspec.Struct)

app = typer.Typer(
    no_args_is_help=True,
    help="List tasks, llms, pools, sessions or tokens.",
    epilog=f"$ inferpool get tasks\n\n{EXIT_CODES}",
)

StatusFlag: TypeAlias = Annotated[list[Status] | None, typer.Option("--status", help="only these states (repeatable)")]
PoolFlag: TypeAlias = Annotated[
    str | None, typer.Option("--pool", metavar="POOL", help="only tasks that stand in this pool")
]
LlmFlag: TypeAlias = Annotated[str | None, typer.Option("--llm", metavar="LLM", help="only tasks that name this llm")]


def found(one: T | None, many: Sequence[T], shape: Shape[T], output: Output | None) -> None:
    """Print one thing by itself, or a list."""
    if one is not None and output in {Output.JSON, Output.YAML}:
        print_value(plain(one), output or Output.JSON)
    else:
        print_things(many if one is None else [one], shape, output)


_TASKS_HELP: Final = (
    "Examples:\n\n$ inferpool get tasks --status pending --status running\n\n"
    "$ inferpool get tasks --pool qwen3 -o wide\n\n"
    "$ inferpool get tasks --status pending -o name | xargs inferpool cancel\n\n" + EXIT_CODES
)
_LLMS_HELP: Final = "Examples:\n\n$ inferpool get llms\n\n$ inferpool get llms qwen3@office -o yaml\n\n" + EXIT_CODES
_POOLS_HELP: Final = "Examples:\n\n$ inferpool get pools\n\n$ inferpool get pools qwen3 -o wide\n\n" + EXIT_CODES
_SESSIONS_HELP: Final = "Examples:\n\n$ inferpool get sessions -o wide\n\n" + EXIT_CODES

_TOKENS_HELP: Final = "Examples:\n\n$ inferpool get tokens\n\n$ inferpool get tokens -o wide\n\n" + EXIT_CODES


@app.command("tasks", epilog=_TASKS_HELP)
def tasks(
    name: Annotated[
        str | None, typer.Argument(metavar="ID", help="one task instead of the list", autocompletion=task_ids)
    ] = None,
    status: StatusFlag = None,
    pool: PoolFlag = None,
    llm: LlmFlag = None,
    limit: LimitFlag = 100,
    output: OutputFlag = None,
    server: ServerFlag = None,
    token: TokenFlag = None,
) -> None:
    """List tasks, the newest first."""
    if name is not None:
        one = ask(server, token, partial(NativeClient.task, task_id=name))
        return found(one, [], TASKS, output)
    query: Query = {"status": [state.value for state in status or []], "pool": pool, "llm": llm}
    found(None, ask(server, token, partial(NativeClient.tasks, query=query, limit=limit)), TASKS, output)
    return None


@app.command("llms", epilog=_LLMS_HELP)
def llms(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="one llm instead of the list", autocompletion=llm_names)
    ] = None,
    limit: LimitFlag = 100,
    output: OutputFlag = None,
    server: ServerFlag = None,
    token: TokenFlag = None,
) -> None:
    """List llms by name."""
    one = None if name is None else ask(server, token, partial(NativeClient.llm, name=name))
    many = ask(server, token, partial(NativeClient.llms, limit=limit)) if name is None else []
    found(one, many, LLMS, output)


@app.command("pools", epilog=_POOLS_HELP)
def pools(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="one pool instead of the list", autocompletion=pool_names)
    ] = None,
    limit: LimitFlag = 100,
    output: OutputFlag = None,
    server: ServerFlag = None,
    token: TokenFlag = None,
) -> None:
    """List pools by name: who is in them, what runs, what waits."""
    one = None if name is None else ask(server, token, partial(NativeClient.pool, name=name))
    many = ask(server, token, partial(NativeClient.pools, limit=limit)) if name is None else []
    found(one, many, POOLS, output)


@app.command("sessions", epilog=_SESSIONS_HELP)
def sessions(
    name: Annotated[
        str | None, typer.Argument(metavar="ID", help="one session instead of the list", autocompletion=session_ids)
    ] = None,
    limit: LimitFlag = 100,
    output: OutputFlag = None,
    server: ServerFlag = None,
    token: TokenFlag = None,
) -> None:
    """List the workers' sessions, the newest first."""
    one = None if name is None else ask(server, token, partial(NativeClient.session, session_id=name))
    many = ask(server, token, partial(NativeClient.sessions, limit=limit)) if name is None else []
    found(one, many, SESSIONS, output)


@app.command("tokens", epilog=_TOKENS_HELP)
def tokens(
    name: Annotated[str | None, typer.Argument(metavar="ID", help="one token instead of the list")] = None,
    limit: LimitFlag = 100,
    output: OutputFlag = None,
    server: ServerFlag = None,
    token: TokenFlag = None,
) -> None:
    """List tokens, the newest first; never what they are."""
    one = None if name is None else ask(server, token, partial(NativeClient.token, token_id=name))
    many = ask(server, token, partial(NativeClient.tokens, limit=limit)) if name is None else []
    found(one, many, TOKENS, output)


for _word, _command, _help in (
    ("task", tasks, _TASKS_HELP),
    ("llm", llms, _LLMS_HELP),
    ("pool", pools, _POOLS_HELP),
    ("session", sessions, _SESSIONS_HELP),
    ("token", tokens, _TOKENS_HELP),
):
    app.command(_word, hidden=True, epilog=_help)(_command)  # as one says it of a single thing
