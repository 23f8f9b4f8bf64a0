"""Who may do what: roles with their rights, tokens with their limits (spec section 8).

A role is a set of grants `RESOURCE:ACTION:SCOPE`. The scope `own` reaches what belongs to the caller's subject, `any` reaches
all. Whatever is not granted is refused: what one may not see is not there, what one may see but not do is forbidden.
"""

from collections.abc import Mapping
from enum import StrEnum
from itertools import product
from typing import Final

import msgspec

from inferpool.core.clock import Micros
from inferpool.core.ids import TokenId
from inferpool.core.lanes import LaneScope, parse_lane

TOKEN_PREFIX: Final = "ip_"  # noqa: S105 - not a secret: what every token begins with
"""So that a token is known as one wherever it turns up."""
LOCAL: Final = "local"
"""The subject of everybody while the server is open; what was made then belongs to it."""
SUBJECT_LIMIT: Final = 200
"""Characters of a subject's name."""


class Role(StrEnum):
    """What a token is for."""

    ADMIN = "admin"
    """Runs the place: sees, does everything."""
    PUBLISHER = "publisher"
    """A worker's: publishes llms, nothing else."""
    CALLER = "caller"
    """An application's: has tasks of its own."""


class Resource(StrEnum):
    """The kinds of things that rights are about."""

    TASKS = "tasks"
    LLMS = "llms"
    SESSIONS = "sessions"
    AGENTS = "agents"
    THREADS = "threads"
    FILES = "files"
    BATCHES = "batches"
    TOKENS = "tokens"
    AUDIT = "audit"
    METRICS = "metrics"


class Action(StrEnum):
    """What one does to them."""

    READ = "read"
    CREATE = "create"
    CHANGE = "change"
    DELETE = "delete"
    CANCEL = "cancel"
    REPLAY = "replay"
    PUBLISH = "publish"
    """Register a session with its llms."""
    SPEAK = "speak"
    """As a registered session: take tasks, say what became of them."""


MUTATIONS: Final = frozenset(Action) - {Action.READ, Action.SPEAK}
"""Actions that leave a line in the audit; what a session says stands in its tasks' histories."""


class Scope(StrEnum):
    """How far a grant reaches."""

    OWN = "own"
    ANY = "any"


class Right(msgspec.Struct, frozen=True, cache_hash=True):
    """One action on one kind of thing: what a route asks for."""

    resource: Resource
    action: Action


ROLES: Final[Mapping[Role, tuple[str, ...]]] = {
    Role.ADMIN: ("*:*:any",),
    Role.PUBLISHER: ("sessions:*:own", "llms:read:any"),
    Role.CALLER: (
        "tasks:*:own",
        "llms:read:any",
        "agents:read:any",
        "threads:*:own",
        "files:*:own",
        "batches:*:own",
    ),
}
"""The whole of what roles may do."""


def _granted() -> dict[tuple[Role, Right], Scope]:
    found: dict[tuple[Role, Right], Scope] = {}
    for role, grants in ROLES.items():
        for grant in grants:
            resource, action, scope = grant.split(":")
            resources = list(Resource) if resource == "*" else [Resource(resource)]
            actions = list(Action) if action == "*" else [Action(action)]
            found |= {(role, Right(*one)): Scope(scope) for one in product(resources, actions)}
    return found


_GRANTED: Final = _granted()


class Limits(msgspec.Struct, frozen=True):
    """The llms with the pools that a token is bound to; none of either: it is bound to nothing."""

    llms: frozenset[str] = frozenset()
    pools: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.llms or self.pools)

    def sees(self, name: str, pool: str) -> bool:
        """Whether the llm `name` of the effective pool `pool` is within."""
        return not self or name in self.llms or pool in self.pools

    def covers(self, lane: str, pool: str | None) -> bool:
        """Whether only llms within may take from the lane; `pool` is that of a pinned llm."""
        if not self:
            return True
        scope, name = parse_lane(lane)
        if scope is LaneScope.LLM:
            return name in self.llms or pool in self.pools
        return scope is LaneScope.POOL and name in self.pools

    def lets_publish(self, name: str, pool: str, tier: str | None) -> bool:
        """Whether a session may publish this llm: all that it would take from must be within.

        A name alone lets it publish into the pool that the name itself tells (`MODEL@WORKER` into `MODEL`), into no other.
        """
        if not self:
            return True
        named = name in self.llms and (pool == name or name.startswith(pool + "@"))
        return tier is None and (pool in self.pools or named)


NO_LIMITS: Final = Limits()


class Caller(msgspec.Struct, frozen=True):
    """Who asks: a subject in a role, within limits. `token_id` is None for the local user of an open server.

    Without a role it may do nothing: who that is, is not known yet.
    """

    subject: str
    role: Role | None
    limits: Limits = NO_LIMITS
    token_id: TokenId | None = None

    def scope(self, right: Right) -> Scope | None:
        """How far the caller's right reaches; None: it has none."""
        return None if self.role is None else _GRANTED.get((self.role, right))


NOBODY: Final = Caller("", None)
"""Who did not say yet who he is."""
LOCAL_CALLER: Final = Caller(LOCAL, Role.ADMIN)
"""The one user of an open server."""


class Judgement(StrEnum):
    """The answer to somebody who asks for something."""

    MAY = "may"
    UNSEEN = "unseen"
    """It must look as if the thing were not there."""
    FORBIDDEN = "forbidden"


def judge(caller: Caller, right: Right, owner: str | None = None) -> Judgement:
    """Whether the caller may do this to a thing of `owner`; None: to no single thing, but to its own ones as a whole."""
    if _reaches(caller, right, owner):
        return Judgement.MAY
    if owner is not None and not _reaches(caller, Right(right.resource, Action.READ), owner):
        return Judgement.UNSEEN
    return Judgement.FORBIDDEN


def _reaches(caller: Caller, right: Right, owner: str | None) -> bool:
    scope = caller.scope(right)
    return scope is Scope.ANY or (scope is Scope.OWN and owner in {None, caller.subject})


# ---- what is stored ---------------------------------------------------------------------------------------------------


class NewToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token to be stored. `hash` is the SHA-256 (hex) of the token itself, which nobody keeps; `expires_in` None: never."""

    id: TokenId
    hash: str
    subject: str
    role: Role
    limits: Limits = NO_LIMITS
    expires_in: Micros | None = None


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """A token as the store keeps it. Times in microseconds UTC; `last_used` is the day (UTC) on which it last let in."""

    id: TokenId
    subject: str
    role: Role
    llms: list[str]
    pools: list[str]
    created_at: Micros
    expires_at: Micros | None
    revoked_at: Micros | None
    last_used: Micros | None

    @property
    def caller(self) -> Caller:
        """Whom it stands for."""
        return Caller(self.subject, self.role, Limits(frozenset(self.llms), frozenset(self.pools)), self.id)


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the audit: who did, or was refused, what. Never a body, a prompt, a token.

    `count` like ones within a second are one line, `at` is the first one's time.
    """

    id: str
    at: Micros
    subject: str
    """Empty: nobody known."""
    token_id: TokenId | None
    action: str
    """The method with the route's path, such as `POST /api/v1/tokens`."""
    resource: str
    """The thing's id or name; empty where it is none, or where the things themselves tell (tasks of calls)."""
    address: str
    """Where the connection came from."""
    outcome: str
    """`done`, or the code of the refusal."""
    count: int = 1
