"""A round of jobs that do nothing through procrastinate."""

import asyncio
from typing import Final

import procrastinate

from bench.queues.rounds import PRODUCERS, Waiting, play, read_flags

CONNECTIONS: Final = 10
WAITING: Final = Waiting()


async def nothing(number: int) -> None:
    """The job."""
    WAITING.done(number)


async def main() -> None:
    """Its worker runs beside the producers, fetches as it is notified."""
    options = read_flags(__doc__)
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=options.database, max_size=CONNECTIONS))

    job = app.task(nothing)
    async with app.open_async():
        if not await app.check_connection_async():
            await app.schema_manager.apply_schema_async()
        worker = asyncio.create_task(app.run_worker_async(concurrency=PRODUCERS, install_signal_handlers=False))
        said = await play(options, WAITING, lambda number: job.defer_async(number=number))
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
    print(said)


asyncio.run(main())
