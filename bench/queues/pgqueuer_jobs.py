"""A round of jobs that do nothing through pgqueuer."""

import asyncio

import asyncpg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.models import Job
from pgqueuer.queries import Queries

from bench.queues.rounds import PRODUCERS, Waiting, play, read_flags

CONNECTIONS = 10


async def main() -> None:
    """Its worker runs beside the producers, fetches as it is notified."""
    options = read_flags(__doc__)
    waiting = Waiting()
    async with asyncpg.create_pool(options.database, min_size=2, max_size=CONNECTIONS) as pool:
        queue = PgQueuer.from_asyncpg_pool(pool)
        queries = Queries.from_asyncpg_pool(pool)
        if not await queries.schema_is_installed():
            await queries.install()

        @queue.entrypoint("nothing")
        async def nothing(job: Job) -> None:
            waiting.done(int(job.payload or b"0"))

        worker = asyncio.create_task(queue.run(batch_size=PRODUCERS))
        print(await play(options, waiting, lambda number: queries.enqueue("nothing", b"%d" % number)))
        queue.shutdown.set()
        await worker


uvloop.run(main())
