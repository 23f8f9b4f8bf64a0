"""What PostgreSQL counts: its commits, the rows that it left dead, the length of its log."""

import msgspec

from bench.postgres import desk, text


class Counters(msgspec.Struct, frozen=True):
    """Sums since the database was made."""

    commits: int
    dead: int
    """Versions of rows that an update or a delete left behind."""
    dead_with_indexes: int
    """Those of them that vacuum alone can remove: the new version has index entries of its own."""

    def since(self, before: "Counters") -> "Counters":
        """What came after `before`."""
        return Counters(
            self.commits - before.commits,
            self.dead - before.dead,
            self.dead_with_indexes - before.dead_with_indexes,
        )


async def counters(url: str) -> Counters:
    """Those of the database, up to date for connections that have been closed; others report late."""
    async with desk(url) as connection:
        [row] = await connection.fetch(text("counters"))
        return msgspec.convert(dict(row), Counters)


async def wal_position(url: str) -> int:
    """Bytes of the write-ahead log that the whole server ever wrote."""
    async with desk(url) as connection:
        return msgspec.convert(await connection.fetchval(text("wal_position")), int)
