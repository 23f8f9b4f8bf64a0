"""What this server has counted since it started: the numbers behind `/metrics`.

Counts go up by plain additions where the thing happens; whoever reads them turns them into a format. Labels are of closed
sets (endpoints, codes, verdicts), so that no caller can make them many.
"""

from collections import Counter

from inferpool.core.clock import SECOND, Micros
from inferpool.core.histogram import Histogram
from inferpool.core.ids import TaskId, made_at_us


class Tally:
    """Counters with histograms of one server process."""

    def __init__(self) -> None:
        self.enqueued: Counter[str] = Counter()
        """Tasks made, by endpoint."""
        self.claimed = 0
        """Attempts begun."""
        self.ended: Counter[tuple[str, str]] = Counter()
        """Tasks ended, by status with the code of what went wrong (empty: nothing)."""
        self.retried = 0
        """Attempts that failed, after which their tasks wait for another try."""
        self.reverted: Counter[str] = Counter()
        """Tasks back in the queue without an answer: `returned` by their worker, or `lost` with their session."""
        self.adopted = 0
        """Reverted tasks that the session which had lost them took up again."""
        self.refused: Counter[str] = Counter()
        """What workers said of attempts that are not theirs (any more), by the reason they were given."""
        self.declined: Counter[str] = Counter()
        """Requests answered by an error of this server, by its code."""
        self.chunks = 0
        """Parts of streamed answers taken from workers, each counted once."""
        self.waits = Histogram()
        """Seconds from a task's making to each of its claims."""
        self.first_chunks = Histogram()
        """Seconds from an attempt's hand-over to its first chunk."""
        self.runs = Histogram()
        """Seconds from an attempt's hand-over to its whole answer."""
        self.lag = Histogram()
        """Seconds by which the event loop woke a timer too late, once a second."""

    def claim(self, task_id: TaskId, now_us: Micros) -> None:
        """An attempt of the task begins."""
        self.claimed += 1
        self.waits.observe((now_us - made_at_us(task_id)) / SECOND)
