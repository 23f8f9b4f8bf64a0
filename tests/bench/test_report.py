"""The arithmetic of the benchmark's table."""

from pathlib import Path

import pytest

from bench.report import Figure, Report, load, markdown, percentile, ratios, spread


def figure(*values: float, target: float | None = 10, at_least: bool = False) -> Figure:
    return Figure(row="row", name="name", unit="µs", values=list(values), target=target, at_least=at_least)


def test_a_spread_shows_the_middle_between_the_ends() -> None:
    found = spread([5.0, 1.0, 3.0])
    assert (found.least, found.median, found.most) == (1.0, 3.0, 5.0)


def test_a_ratio_compares_rounds_that_were_next_to_each_other() -> None:
    assert ratios([10.0, 40.0], [5.0, 10.0]) == [2.0, 4.0]
    with pytest.raises(ValueError, match="shorter"):
        ratios([1.0, 2.0], [1.0])


@pytest.mark.parametrize(("part", "value"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_a_percentile_is_a_value_that_was_seen(part: float, value: int) -> None:
    assert percentile([float(number) for number in range(100, 0, -1)], part) == value


def test_two_bad_rounds_of_five_are_no_miss() -> None:
    assert figure(9, 9, 9, 20, 20).verdict == "reached"


def test_three_bad_rounds_of_five_are_a_miss_by_the_middle_one() -> None:
    assert figure(9, 9, 12, 20, 20).verdict == "missed by 20%"


def test_where_more_is_better_a_small_value_misses() -> None:
    assert figure(7.5, at_least=True).off == pytest.approx(0.25)
    assert figure(11, at_least=True).off == 0


def test_a_figure_without_a_target_has_no_verdict() -> None:
    assert (figure(1, target=None).verdict, figure(1, target=None).off) == ("", 0.0)


def test_a_saved_report_becomes_a_table_of_the_documentation(tmp_path: Path) -> None:
    report = Report(
        began="2026-11-24T18-05-10",
        disk="ext4",
        sync_ms=[0.2],
        cores=2,
        load_before=0.04,
        python="3.11.7",
        postgres="18.4, given",
        figures=[figure(8, 9, 15), figure(4, target=None)],
    )
    report.save(tmp_path / "report.json")
    head, _, *lines = markdown(load(tmp_path / "report.json")).splitlines()
    assert head.startswith("Of 2026-11-24 on 2 cores, PostgreSQL 18.4, given, load 0.0 before, 0.2 ms for a sync")
    assert lines[2:] == ["| row | name | 9 (8 … 15) µs | ≤ 10 |  |", "| row | name | 4 µs |  |  |"]
    report.figures = [figure(15)]
    assert markdown(report).endswith("| row | name | 15 µs, **missed by 50%** | ≤ 10 |  |")
