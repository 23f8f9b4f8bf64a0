"""The trail of what was done, of what was refused, on its way into the store."""

from typing import Final, NamedTuple

from inferpool.core.access import AuditEntry
from inferpool.core.clock import Clock, Micros
from inferpool.core.errors import InferpoolError
from inferpool.core.ids import NewId, TokenId
from inferpool.store.access_protocol import AccessStore

LINES_MOST: Final = 1000
"""Different lines that one second may make; what goes beyond is counted by its outcome alone."""


class Deed(NamedTuple):
    """Who did, or was refused, what: the fields of `core.access.AuditEntry`."""

    subject: str
    token_id: TokenId | None
    action: str
    resource: str
    address: str
    outcome: str


class _Tally:
    """Since when a deed was repeated how often."""

    __slots__ = ("at", "count")

    def __init__(self, at: Micros, count: int) -> None:
        self.at = at
        self.count = count


class Trail:
    """Collects deeds for a second; like ones become one line, so that a flood of calls or refusals costs one row."""

    def __init__(self, store: AccessStore, clock: Clock, new_id: NewId) -> None:
        self._store = store
        self._clock = clock
        self._new_id = new_id
        self._tallies: dict[Deed, _Tally] = {}

    def note(self, deed: Deed) -> None:
        """Take it along with the next flush."""
        tally = self._tallies.get(deed)
        if tally is None:
            self._add(deed, _Tally(self._clock.now_us(), 1))
        else:
            tally.count += 1

    async def flush(self) -> None:
        """Make what was noted durable. Raises `StoreUnavailable`: then it is tried again the next time."""
        if not self._tallies:
            return
        tallies, self._tallies = self._tallies, {}
        try:
            await self._store.write_audit([self._entry(deed, tally) for deed, tally in tallies.items()])
        except InferpoolError:
            for deed, tally in tallies.items():
                self._add(deed, tally)
            raise

    def _entry(self, deed: Deed, tally: _Tally) -> AuditEntry:
        return AuditEntry(
            id=self._new_id(),
            at=tally.at,
            subject=deed.subject,
            token_id=deed.token_id,
            action=deed.action,
            resource=deed.resource,
            address=deed.address,
            outcome=deed.outcome,
            count=tally.count,
        )

    def _add(self, deed: Deed, tally: _Tally) -> None:
        if deed not in self._tallies and len(self._tallies) >= LINES_MOST:
            deed = Deed("", None, "", "", "", deed.outcome)
        known = self._tallies.get(deed)
        if known is None:
            self._tallies[deed] = tally
        else:
            known.at = min(known.at, tally.at)
            known.count += tally.count
