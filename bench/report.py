"""Figures beside their targets: the table that people read, the JSON that tools compare."""

import statistics
from collections.abc import Sequence
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table


class Spread(msgspec.Struct, frozen=True):
    """The values of all rounds in three numbers."""

    least: float
    median: float
    most: float

    def __str__(self) -> str:
        if self.least == self.most:
            return _short(self.median)
        return f"{_short(self.median)} ({_short(self.least)} … {_short(self.most)})"


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One measured quantity: a value a round, its target if it has one, what bounds it from outside."""

    row: str
    name: str
    unit: str
    values: list[float]
    target: float | None = None
    at_least: bool = False
    """Whether more is better; else less is."""
    limit: list[float] = []
    """The same quantity of a program that does nothing else, measured between our rounds."""
    limit_name: str = ""
    note: str = ""
    """What proves it, beside the number."""

    @property
    def spread(self) -> Spread:
        """Of our values."""
        return spread(self.values)

    @property
    def off(self) -> float:
        """By what part of the target the median misses it (0: reached). A median misses when 3 of 5 rounds do."""
        if self.target is None:
            return 0.0
        median = self.spread.median
        gap = self.target - median if self.at_least else median - self.target
        return max(0.0, gap / self.target)

    @property
    def verdict(self) -> str:
        """In words."""
        if self.target is None:
            return ""
        return "reached" if self.off == 0 else f"missed by {self.off:.0%}"


class Report(msgspec.Struct, kw_only=True):
    """One run."""

    began: str
    disk: str
    sync_ms: list[float]
    """Milliseconds of each probed sync, between the rows."""
    cores: int
    load_before: float
    """The machine's load average when the run began: others take part of the cores."""
    python: str
    postgres: str = ""
    """Its version with where it comes from, when it was asked."""
    took_s: dict[str, float] = {}
    """How long each row took to measure, its preparations included."""
    figures: list[Figure] = []

    def save(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=2))


def load(path: Path) -> Report:
    """A report that was saved."""
    return msgspec.json.decode(path.read_bytes(), type=Report)


def spread(values: Sequence[float]) -> Spread:
    """Least, median, most of at least one value."""
    return Spread(min(values), statistics.median(values), max(values))


def ratios(ours: Sequence[float], limit: Sequence[float]) -> list[float]:
    """Round by round ours over the limit: both were measured next to each other."""
    return [one / other for one, other in zip(ours, limit, strict=True)]


def percentile(values: Sequence[float], part: float) -> float:
    """The smallest value that at least `part` (0 to 1) of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -int(-len(ordered) * part // 1) - 1)]


def print_report(report: Report, console: Console) -> None:
    """The table, with what stands over it."""
    postgres = f" PostgreSQL {report.postgres};" if report.postgres else ""
    console.print(
        f"{report.cores} cores, load {report.load_before:.2f} before; Python {report.python};{postgres} database on {report.disk};"
        f" fdatasync of 4 KB {spread(report.sync_ms)} ms; each figure: median (least … most) of its rounds"
    )
    table = Table()
    for heading in ("row", "what", "ours", "unit", "target", "verdict", "limit in this run"):
        table.add_column(heading)
    for figure in report.figures:
        table.add_row(*_cells(figure))
    console.print(table)
    took = ", ".join(f"{name} {seconds:.0f} s" for name, seconds in report.took_s.items())
    console.print(f"measured in {sum(report.took_s.values()):.0f} s: {took}")
    for note in dict.fromkeys(figure.note for figure in report.figures if figure.note):
        console.print(note)


def markdown(report: Report) -> str:
    """The table as docs/benchmarks.md has it, a line a figure; the run's own line above it."""
    postgres = f", PostgreSQL {report.postgres}" if report.postgres else ""
    head = (
        f"Of {report.began[:10]} on {report.cores} cores{postgres}, load {report.load_before:.1f} before,"
        f" {_short(spread(report.sync_ms).median)} ms for a sync of 4 KB; medians, least to most of the rounds in brackets."
    )
    lines = ["| row | what | ours | target | limit in the same run |", "|---|---|---|---|---|"]
    lines += [f"| {' | '.join(_markdown_cells(figure))} |" for figure in report.figures]
    return "\n".join([head, "", *lines])


def _markdown_cells(figure: Figure) -> list[str]:
    row, name, ours, unit, target, verdict, limit = _cells(figure)
    missed = f", **{verdict}**" if verdict.startswith("missed") else ""
    return [row, name, f"{ours} {unit}".strip() + missed, target, limit]


def _cells(figure: Figure) -> list[str]:
    target = "" if figure.target is None else f"{'≥' if figure.at_least else '≤'} {_short(figure.target)}"
    limit = f"{spread(figure.limit)} {figure.limit_name}" if figure.limit else ""
    return [figure.row, figure.name, str(figure.spread), figure.unit, target, figure.verdict, limit]


def _short(value: float) -> str:
    if abs(value) >= 1000:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
