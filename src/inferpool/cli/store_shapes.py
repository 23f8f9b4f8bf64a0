"""How a store's schema, its size, its copy are shown."""

from importlib.metadata import version

import msgspec

from inferpool.cli.output import Column, Shape, print_facts
from inferpool.cli.times import spelled as time_spelled
from inferpool.host.room import spelled
from inferpool.store.status import Amount, Step, StoreStatus
from inferpool.store.tables import CopiedTable
from inferpool.wire.tasks import to_rfc3339


class StepJson(msgspec.Struct, frozen=True, kw_only=True):
    """A migration; `applied_at` null: the store waits for it; not `known`: a newer release made it."""

    number: int
    name: str
    oldest_release: str
    applied_at: str | None
    known: bool


class StatusJson(msgspec.Struct, frozen=True, kw_only=True):
    """A store, for a program. `size`: bytes on the disk."""

    database: str
    engine: str
    size: int
    release: str
    """The one that tells."""
    oldest_release: str
    this_release_may_run: bool
    migrations: list[StepJson]
    amounts: list[Amount]


def step_json(step: Step) -> StepJson:
    """A migration with its time as text."""
    return StepJson(
        number=step.number,
        name=step.name,
        oldest_release=step.oldest_release,
        applied_at=None if step.applied_at is None else to_rfc3339(step.applied_at),
        known=step.known,
    )


def status_json(place: str, told: StoreStatus, log_size: int) -> StatusJson:
    """What was told of the store there, with the log beside its file (bytes; 0: it has none)."""
    return StatusJson(
        database=place,
        engine=told.engine,
        size=told.size + log_size,
        release=version("inferpool"),
        oldest_release=told.oldest_release,
        this_release_may_run=told.runs,
        migrations=[step_json(step) for step in told.steps],
        amounts=told.amounts,
    )


def step_state(step: StepJson) -> str:
    """Whether the store has it."""
    if step.applied_at is None:
        return "waits"
    return "applied" if step.known else "applied by a newer release"


STEPS: Shape[StepJson] = Shape(
    "migrations",
    lambda step: step.name,
    (
        Column("NUMBER", lambda step: str(step.number)),
        Column("NAME", lambda step: step.name),
        Column("STATE", step_state),
        Column("OLDEST RELEASE", lambda step: step.oldest_release),
        Column("APPLIED", lambda step: time_spelled(step.applied_at), wide=True),
    ),
)

COPIED: Shape[CopiedTable] = Shape(
    "tables",
    lambda table: table.table,
    (
        Column("TABLE", lambda table: table.table),
        Column("ROWS", lambda table: str(table.rows)),
        Column("CHECKSUM", lambda table: table.checksum, cut=True),
    ),
)


def print_status(told: StatusJson, *, wide: bool) -> None:
    """A fact a line; each migration too if it is to be `wide`."""
    facts = [
        ("database", told.database),
        ("engine", told.engine),
        ("size", spelled(told.size)),
        ("migrations", _schema(told)),
        ("runs on", f"inferpool {told.oldest_release} or newer; this is {told.release}"),
        *((one.name, f"{one.size:,}" + ("" if one.exact else " or more")) for one in told.amounts),
    ]
    if wide:
        facts.append(("history", "\n".join(_line(step) for step in told.migrations)))
    print_facts(facts)


def _schema(told: StatusJson) -> str:
    waiting = [step for step in told.migrations if step.applied_at is None]
    newer = [step for step in told.migrations if not step.known]
    said = f"{len(told.migrations) - len(waiting)} applied"
    if waiting:
        said += f", {len(waiting)} wait: the next server applies them, or `inferpool database migrate`"
    if newer:
        said += f", {len(newer)} of them by a newer release"
    return said


def _line(step: StepJson) -> str:
    return f"{step.number:04} {step.name}: {step_state(step)}, {time_spelled(step.applied_at)}"
