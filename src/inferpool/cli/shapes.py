"""How tasks, llms, sessions are shown in lists."""

from inferpool.cli.output import Column, Shape
from inferpool.cli.times import age
from inferpool.wire.registry import LlmJson, SessionJson
from inferpool.wire.tasks import InferenceTask


def task_state(task: InferenceTask) -> str:
    """Its status, with the code of an error, its place in the line."""
    if task.error is not None:
        return f"{task.status.value} ({task.error.code.value})"
    if not task.ready:
        return f"{task.status.value} (backing off)"
    return task.status.value


def session_state(session: SessionJson) -> str:
    """Whether it can be given work."""
    if not session.active:
        return "inactive"
    return "leaving" if session.leaving else "active"


TASKS: Shape[InferenceTask] = Shape(
    "tasks",
    lambda task: task.id,
    (
        Column("ID", lambda task: task.id),
        Column("STATUS", task_state),
        Column("MODEL", lambda task: task.model, cut=True),
        Column("TRY", lambda task: str(task.attempt)),
        Column("AGE", lambda task: age(task.created_at)),
        Column("LANE", lambda task: task.lane, wide=True),
        Column("ENDPOINT", lambda task: task.endpoint + (" (stream)" if task.streaming else ""), wide=True),
        Column("PRIORITY", lambda task: task.priority, wide=True),
        Column("OWNER", lambda task: task.owner, wide=True),
        Column("SESSION", lambda task: task.claimed_by or task.lost_by or "-", wide=True),
        Column("ENDED", lambda task: age(task.completed_at), wide=True),
    ),
)

LLMS: Shape[LlmJson] = Shape(
    "llms",
    lambda llm: llm.name,
    (
        Column("NAME", lambda llm: llm.name),
        Column("STATUS", lambda llm: llm.status.value),
        Column("POOL", lambda llm: llm.pool, cut=True),
        Column("SLOTS", lambda llm: str(llm.slots)),
        Column("AGE", lambda llm: age(llm.created_at)),
        Column("MODEL", lambda llm: llm.model, wide=True),
        Column("KIND", lambda llm: llm.kind.value, wide=True),
        Column("TYPE", lambda llm: llm.type, wide=True),
        Column("ENGINE", lambda llm: llm.engine, wide=True),
        Column("SESSION", lambda llm: llm.session_id or "-", wide=True),
    ),
)

SESSIONS: Shape[SessionJson] = Shape(
    "sessions",
    lambda session: session.id,
    (
        Column("ID", lambda session: session.id),
        Column("WORKER", lambda session: session.worker.name, cut=True),
        Column("STATUS", session_state),
        Column("EPOCH", lambda session: str(session.epoch)),
        Column("SEEN", lambda session: age(session.seen_at)),
        Column("VERSION", lambda session: session.worker.version or "-", wide=True),
        Column("SUBJECT", lambda session: session.subject, wide=True),
        Column("SERVER", lambda session: session.server_id, wide=True),
        Column("AGE", lambda session: age(session.created_at), wide=True),
    ),
)
