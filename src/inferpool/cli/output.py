"""Prints what a command found, as a table or in a form that programs read."""

import sys
from collections.abc import Callable, Sequence
from enum import StrEnum
from typing import Annotated, Generic, NamedTuple, TypeAlias, TypeVar

import msgspec
import typer

from inferpool.cli import yaml

T = TypeVar("T", bound=msgspec.Struct)

PIPE_WIDTH = 1000
"""Columns where no terminal sets a limit: nothing is cut that a program may want to read."""

GAP = 3
"""Columns between two of a table's."""
CUT_TO = 9
"""Characters that are left at least of a cell that is cut."""
INDENT = "  "


class Output(StrEnum):
    """The forms of `-o`."""

    JSON = "json"
    YAML = "yaml"
    WIDE = "wide"
    NAME = "name"


OutputFlag: TypeAlias = Annotated[
    Output | None,
    typer.Option("--output", "-o", metavar="FORM", help="json, yaml, wide (more columns) or name (names alone)"),
]


class Column(NamedTuple, Generic[T]):
    """One column: its head, what it shows of a thing, whether only `-o wide` has it, whether it may be cut."""

    head: str
    show: Callable[[T], str]
    wide: bool = False
    cut: bool = False


class Shape(NamedTuple, Generic[T]):
    """How things of one kind are listed. `name` is what other commands take."""

    plural: str
    name: Callable[[T], str]
    columns: Sequence[Column[T]]


def plain(thing: msgspec.Struct | Sequence[msgspec.Struct]) -> yaml.Json:
    """The thing as JSON values."""
    value: yaml.Json = msgspec.json.decode(msgspec.json.encode(thing))
    return value


def print_things(things: Sequence[T], shape: Shape[T], output: Output | None) -> None:
    """A list; nothing found is said on the error output, so that a pipe stays empty."""
    if output is Output.JSON or output is Output.YAML:
        print_value({"data": plain(things)}, output)
    elif output is Output.NAME:
        sys.stdout.writelines(shape.name(thing) + "\n" for thing in things)
    elif things:
        _print_table(things, [column for column in shape.columns if output is Output.WIDE or not column.wide])
    else:
        sys.stderr.write(f"no {shape.plural} found\n")


def print_value(value: yaml.Json, output: Output) -> None:
    """A value as JSON or YAML."""
    if output is Output.YAML:
        sys.stdout.write(yaml.dump(value))
    else:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def _print_table(things: Sequence[T], columns: Sequence[Column[T]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH, highlight=False)
    if _least(things, columns) > console.width:
        _print_blocks(things, columns, console.width)
        return
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, GAP, 0, 0))
    for column in columns:
        table.add_column(
            column.head, no_wrap=True, overflow="ellipsis", min_width=None if column.cut else _width(things, column)
        )
    for thing in things:
        table.add_row(*(Text(column.show(thing)) for column in columns))
    with console.capture() as drawn:
        console.print(table, crop=False)
    sys.stdout.writelines(line.rstrip() + "\n" for line in drawn.get().splitlines())


def _width(things: Sequence[T], column: Column[T]) -> int:
    """As wide as its longest cell: it is never cut."""
    return max(len(column.head), *(len(column.show(thing)) for thing in things))


def _least(things: Sequence[T], columns: Sequence[Column[T]]) -> int:
    """The narrowest that a table of these can be."""
    widths = [_width(things, column) for column in columns]
    cut = [min(width, CUT_TO) if column.cut else width for width, column in zip(widths, columns, strict=True)]
    return sum(cut) + GAP * (len(columns) - 1)


def _print_blocks(things: Sequence[T], columns: Sequence[Column[T]], width: int) -> None:
    """For a terminal that is too narrow for a table: each thing below the other, a line a column."""
    head = max(len(column.head) for column in columns[1:])
    for thing in things:
        sys.stdout.write(columns[0].show(thing) + "\n")
        for column in columns[1:]:
            shown, room = column.show(thing), width - head - 2 * len(INDENT)
            if column.cut and len(shown) > max(room, CUT_TO):
                shown = shown[: max(room, CUT_TO) - 1] + "…"
            sys.stdout.write(f"{INDENT}{column.head:<{head}}{INDENT}{shown}\n")


def print_facts(facts: Sequence[tuple[str, str]]) -> None:
    """One thing, a fact a line; a fact of several lines stands indented below its name."""
    width = max(len(name) for name, _ in facts) + 1
    for name, said in facts:
        if "\n" in said:
            sys.stdout.write(f"{name}:\n" + "".join(f"  {line}\n" for line in said.splitlines()))
        else:
            sys.stdout.write(f"{name + ':':<{width}}  {said}\n")
