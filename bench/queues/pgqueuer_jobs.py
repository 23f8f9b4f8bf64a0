"""A round of jobs that do nothing through pgqueuer."""

import asyncio
from typing import Final

import asyncpg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.models import Job
from pgqueuer.queries import Queries

from bench.queues.rounds import PRODUCERS, Waiting, play, read_flags

CONNECTIONS: Final = 10
WAITING: Final = Waiting()


async def nothing(job: Job) -> None:
    """The job."""
    WAITING.done(int(job.payload or b"0"))


async def main() -> None:
    """Its worker runs beside the producers, fetches as it is notified."""
    options = read_flags(__doc__)
    async with asyncpg.create_pool(options.database, min_size=2, max_size=CONNECTIONS) as pool:
        queue = PgQueuer.from_asyncpg_pool(pool)
        queries = Queries.from_asyncpg_pool(pool)
        if not await queries.schema_is_installed():
            await queries.install()
        queue.entrypoint("nothing")(nothing)
        worker = asyncio.create_task(queue.run(batch_size=PRODUCERS))
        print(await play(options, WAITING, lambda number: queries.enqueue("nothing", b"%d" % number)))
        queue.shutdown.set()
        await worker


uvloop.run(main())
