"""The shapes of what the statements return, where they are not the structs of the core themselves."""

from typing import Final

import msgspec

from inferpool.core.access import AuditEntry, Token
from inferpool.core.clock import Micros
from inferpool.core.ids import ServerId, SessionId, TaskId, TokenId
from inferpool.core.lanes import PriorityClass
from inferpool.core.lifecycle import Ending, Status
from inferpool.core.llm import Llm
from inferpool.core.session import HeldAttempt, Session
from inferpool.core.task import Attempt, ClaimedTask, HeldTask, PendingTask, TaskRow
from inferpool.store.protocol import Moved
from inferpool.store.servers_protocol import AttemptEnding, LaneCount, Orphan, SessionStanding, TaskStanding
from inferpool.store.statements import Statement


class Now(msgspec.Struct, frozen=True):
    """The database's clock."""

    now: Micros


class TaskName(msgspec.Struct, frozen=True):
    """A task's id alone."""

    task_id: TaskId


class SessionName(msgspec.Struct, frozen=True):
    """A session's id alone."""

    session_id: SessionId


class Claimer(msgspec.Struct, frozen=True):
    """A session that may be given work, under which epoch, at which server."""

    session_id: SessionId
    epoch: int
    server_id: ServerId


class StandingKey(msgspec.Struct, frozen=True):
    """What an idempotency key names; a task that is gone is like a cancelled one. `stands`: not free again."""

    owner: str
    key: str
    body_hash: str
    task_id: TaskId
    status: Status
    attempt: int
    stands: bool


class Claimable(msgspec.Struct, frozen=True):
    """A waiting task as its lane's index lists it, found by which of the looks."""

    look: int
    task_id: TaskId
    rank: float
    priority: PriorityClass


class Ended(msgspec.Struct, frozen=True):
    """A row with the end of one of its attempts, if that ended."""

    task_id: TaskId
    status: Status
    session_id: SessionId | None
    ending: Ending | None


class StatusOnly(msgspec.Struct, frozen=True):
    """A row's status."""

    task_id: TaskId
    status: Status


class LockedSession(msgspec.Struct, frozen=True):
    """A session under the transaction's lock.

    `bound`: its epoch has had its channel. `alive`: its server has a fresh heartbeat.
    """

    epoch: int
    active: bool
    leaving: bool
    server_id: ServerId
    subject: str
    secret_hash: str
    bound: bool
    alive: bool


class LlmOwner(msgspec.Struct, frozen=True):
    """Who publishes an llm; all None for a public one."""

    name: str
    session_id: SessionId | None
    subject: str | None
    active: bool | None


class Leaving(msgspec.Struct, frozen=True):
    """Whether a session was on its way out."""

    leaving: bool


class SilentSession(msgspec.Struct, frozen=True):
    """A session that was not heard for long."""

    session_id: SessionId
    epoch: int
    server_id: ServerId


class FullRow(TaskRow, frozen=True, kw_only=True):
    """A task with its bodies, flat."""

    content_type: str
    headers: dict[str, str]
    request: bytes
    response: bytes | None


class KeptChunks(msgspec.Struct, frozen=True):
    """A packed stream."""

    attempt: int
    packed: bytes


class Position(msgspec.Struct, frozen=True):
    """A place in a lane, from 1."""

    position: int


class SecretHash(msgspec.Struct, frozen=True):
    """A session's hashed secret."""

    secret_hash: str


class LaneClock(msgspec.Struct, frozen=True):
    """A lane's virtual time."""

    lane: str
    virtual_time: float


class Lane(msgspec.Struct, frozen=True):
    """A lane's name alone."""

    lane: str


class LaneAge(msgspec.Struct, frozen=True):
    """When the earliest of a lane's first tasks was made."""

    lane: str
    created_at: Micros


class ServerName(msgspec.Struct, frozen=True):
    """A server's id alone."""

    server_id: ServerId


class TokenName(msgspec.Struct, frozen=True):
    """A token's id alone."""

    token_id: TokenId


class AuditName(msgspec.Struct, frozen=True):
    """The id of a line of the audit alone."""

    id: str


class Applied(msgspec.Struct, frozen=True):
    """A migration that the schema has had."""

    number: int
    name: str
    oldest_release: str
    applied_at: Micros


_LLM_JSON: Final = ("endpoints", "extra")
_TOKEN_JSON: Final = ("llms", "pools")

NOW: Final = Statement("now", Now)
APPLIED_MIGRATIONS: Final = Statement("applied_migrations", Applied)

CLAIMER: Final = Statement("claimer", Claimer)
FIND_KEY: Final = Statement("find_key", StandingKey)
CLAIMABLE: Final = Statement("claimable", Claimable)
CLAIM: Final = Statement("claim", ClaimedTask, json=("headers",))

VERDICT: Final = Statement("verdict", Ended)
RETRY: Final = Statement("retry", Moved)
GIVE_BACK: Final = Statement("give_back", Moved)

CANCEL_LOOK: Final = Statement("cancel_look", Moved)
STATUS_OF: Final = Statement("status_of", StatusOnly)
REPLAY: Final = Statement("replay", Moved)

SESSION_LOCKED: Final = Statement("session_locked", LockedSession)
LLM_OWNER: Final = Statement("llm_owner", LlmOwner)
LLMS_OF_SESSION: Final = Statement("llms_of_session", Llm, json=_LLM_JSON)
HELD: Final = Statement("held", HeldTask)
LOST: Final = Statement("lost", HeldAttempt)
REVERT: Final = Statement("revert", Moved)
ADOPT: Final = Statement("adopt", Moved)
DEACTIVATE: Final = Statement("deactivate", Leaving)

MAKE_READY: Final = Statement("make_ready", Moved)
EXPIRE: Final = Statement("expire", Moved)
OVERDUE: Final = Statement("overdue", Moved)
END_UNSERVED: Final = Statement("end_unserved", Moved)
SILENT_SESSIONS: Final = Statement("silent_sessions", SilentSession)
FORGOTTEN_SESSIONS: Final = Statement("forgotten_sessions", SessionName)
ENDED_TASKS: Final = Statement("ended_tasks", TaskName)
DELETE_CHUNKS: Final = Statement("delete_chunks", TaskName)
DELETE_KEYS: Final = Statement("delete_keys", TaskName)

TASK: Final = Statement("task", FullRow, json=("metadata", "headers"))
ROW: Final = Statement("row", TaskRow, json=("metadata",))
TASKS: Final = Statement("tasks", TaskRow, json=("metadata",))
TASKS_OF_OWNER: Final = Statement("tasks_of_owner", TaskRow, json=("metadata",))
ATTEMPTS: Final = Statement("attempts", Attempt)
CHUNKS: Final = Statement("chunks", KeptChunks)
POSITION: Final = Statement("position", Position)
LLMS: Final = Statement("llms", Llm, json=_LLM_JSON)
SESSIONS: Final = Statement("sessions", Session, json=("labels",))
ONE_SESSION: Final = Statement("session", Session, json=("labels",))
SECRET_HASH: Final = Statement("secret_hash", SecretHash)
CLOCKS: Final = Statement("clocks", LaneClock)
PENDING: Final = Statement("pending", PendingTask)
OLDEST: Final = Statement("oldest", LaneAge)
WAITING_LANE: Final = Statement("waiting_lane", Lane)

STANDING: Final = Statement("standing", TaskStanding)
ENDING: Final = Statement("ending", AttemptEnding)
SESSION_STANDING: Final = Statement("session_standing", SessionStanding)
SERVERS: Final = Statement("servers", ServerName)
ORPHANS: Final = Statement("orphans", Orphan)
PENDING_COUNTS: Final = Statement("pending_counts", LaneCount)
FORGET_SERVERS: Final = Statement("forget_servers", ServerName)

CREATE_TOKEN: Final = Statement("create_token", Token, json=_TOKEN_JSON)
REVOKE_TOKEN: Final = Statement("revoke_token", Token, json=_TOKEN_JSON)
TOKENS: Final = Statement("tokens", Token, json=_TOKEN_JSON)
ONE_TOKEN: Final = Statement("token", Token, json=_TOKEN_JSON)
VALID_TOKEN: Final = Statement("valid_token", Token, json=_TOKEN_JSON)
ANY_TOKEN: Final = Statement("any_token", TokenName)
LAPSED_TOKENS: Final = Statement("lapsed_tokens", TokenName)
AUDIT: Final = Statement("audit", AuditEntry)
DELETE_AUDIT: Final = Statement("delete_audit", AuditName)
