"""How tasks, llms, sessions are shown in lists."""

from inferpool.cli.output import Column, Shape
from inferpool.cli.times import age, seconds_since, short, until
from inferpool.core.llm import LlmStatus
from inferpool.wire.registry import LlmJson, PoolJson, SessionJson
from inferpool.wire.tasks import InferenceTask
from inferpool.wire.tokens import TokenJson


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


def pool_llms(pool: PoolJson) -> str:
    """How many of its llms take work now, of how many."""
    active = sum(one.status is LlmStatus.ACTIVE for one in pool.members)
    return f"{active}/{len(pool.members)}"


def waited(seconds: float | None) -> str:
    """A wait, for a column; `-` for none."""
    return "-" if seconds is None else short(seconds)


def token_state(token: TokenJson) -> str:
    """Whether it lets in."""
    if token.revoked_at is not None:
        return "revoked"
    return "expired" if token.expires_at is not None and seconds_since(token.expires_at) >= 0 else "valid"


def token_limits(token: TokenJson) -> str:
    """The llms with the pools that it is bound to."""
    return ", ".join([*(f"llm {name}" for name in token.llms), *(f"pool {name}" for name in token.pools)]) or "-"


TASKS: Shape[InferenceTask] = Shape(
    "tasks",
    lambda task: task.id,
    (
        Column("ID", lambda task: task.id),
        Column("STATUS", task_state, cut=True),
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

POOLS: Shape[PoolJson] = Shape(
    "pools",
    lambda pool: pool.name,
    (
        Column("NAME", lambda pool: pool.name),
        Column("ACTIVE", pool_llms),
        Column("SLOTS", lambda pool: str(pool.slots)),
        Column("RUNNING", lambda pool: str(pool.running)),
        Column("PENDING", lambda pool: str(pool.pending)),
        Column("OLDEST", lambda pool: waited(pool.oldest_wait_s)),
        Column("NEXT IN", lambda pool: waited(pool.expected_wait_s), wide=True),
        Column("LLMS", lambda pool: ", ".join(one.name for one in pool.members) or "-", wide=True, cut=True),
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

TOKENS: Shape[TokenJson] = Shape(
    "tokens",
    lambda token: token.id,
    (
        Column("ID", lambda token: token.id),
        Column("SUBJECT", lambda token: token.subject, cut=True),
        Column("ROLE", lambda token: token.role.value),
        Column("STATUS", token_state),
        Column("EXPIRES", lambda token: until(token.expires_at)),
        Column("LAST USED", lambda token: token.last_used_on or "-"),
        Column("LIMITS", token_limits, cut=True),
        Column("AGE", lambda token: age(token.created_at), wide=True),
        Column("REVOKED", lambda token: age(token.revoked_at), wide=True),
    ),
)
