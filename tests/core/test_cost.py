"""What a flow's next task is taken to cost."""

from inferpool.core.cost import CostMeter
from inferpool.core.lanes import PriorityClass

DEFAULT, BATCH = PriorityClass.DEFAULT, PriorityClass.BATCH


def _observe(meter: CostMeter, owner: str, tokens: int, times: int = 1, lane: str = "pool:m") -> None:
    for _ in range(times):
        meter.observe(lane, owner, DEFAULT, tokens)


def test_a_flow_without_history_costs_one() -> None:
    meter = CostMeter()
    assert meter.cost("pool:m", "ann", DEFAULT) == 1.0
    _observe(meter, "bob", 500)
    assert meter.cost("pool:m", "ann", DEFAULT) == 1.0


def test_an_owner_alone_in_a_lane_costs_one_however_long_its_tasks_are() -> None:
    meter = CostMeter()
    _observe(meter, "ann", 9_000, times=100)
    assert meter.cost("pool:m", "ann", DEFAULT) == 1.0


def test_costs_stand_in_the_relation_of_the_tokens() -> None:
    meter = CostMeter()
    for _ in range(200):
        _observe(meter, "long", 3_000)
        _observe(meter, "short", 1_000)
    long, short = meter.cost("pool:m", "long", DEFAULT), meter.cost("pool:m", "short", DEFAULT)
    assert abs(long / short - 3.0) < 1e-9
    assert abs(long - 1.5) < 0.02


def test_a_flow_that_changes_is_followed_within_some_tasks() -> None:
    meter = CostMeter()
    _observe(meter, "bob", 1_000, times=1_000)
    _observe(meter, "ann", 10, times=100)
    _observe(meter, "bob", 1_000, times=1_000)
    _observe(meter, "ann", 1_000, times=24)
    assert meter.cost("pool:m", "ann", DEFAULT) > 0.9


def test_a_cost_stays_between_a_sixteenth_of_a_usual_task_to_sixteen() -> None:
    meter = CostMeter()
    _observe(meter, "usual", 100, times=500)
    _observe(meter, "tiny", 0)
    _observe(meter, "huge", 1_000_000)
    _observe(meter, "usual", 100, times=5_000)
    assert meter.cost("pool:m", "tiny", DEFAULT) == 1 / 16
    assert meter.cost("pool:m", "huge", DEFAULT) == 16


def test_a_lane_whose_tasks_have_no_tokens_costs_one() -> None:
    meter = CostMeter()
    _observe(meter, "ann", 0, times=3)
    assert meter.cost("pool:m", "ann", DEFAULT) == 1.0


def test_batch_costs_what_all_owners_batch_tasks_cost() -> None:
    meter = CostMeter()
    meter.observe("pool:m", "ann", BATCH, 300)
    meter.observe("pool:m", "bob", DEFAULT, 100)
    assert meter.cost("pool:m", "somebody else", BATCH) == meter.cost("pool:m", "ann", BATCH) == 1.5


def test_lanes_are_measured_apart() -> None:
    meter = CostMeter()
    _observe(meter, "ann", 100)
    _observe(meter, "bob", 300)
    _observe(meter, "ann", 5, lane="pool:other")
    assert meter.cost("pool:m", "ann", DEFAULT) == 0.5
    assert meter.cost("pool:other", "ann", DEFAULT) == 1.0


def test_what_was_seen_longest_ago_is_forgotten_first() -> None:
    meter = CostMeter(capacity=2)
    _observe(meter, "ann", 100)
    _observe(meter, "bob", 300)
    _observe(meter, "ann", 100)
    _observe(meter, "eve", 300)
    assert meter.cost("pool:m", "bob", DEFAULT) == 1.0
    assert meter.cost("pool:m", "ann", DEFAULT) < 1.0


def test_lanes_are_bounded_too() -> None:
    meter = CostMeter(capacity=2)
    for lane in ("pool:a", "pool:b", "pool:c"):
        meter.observe(lane, "ann", DEFAULT, 100)
        meter.observe(lane, "bob", DEFAULT, 300)
    assert meter.cost("pool:a", "ann", DEFAULT) == 1.0
    assert meter.cost("pool:c", "bob", DEFAULT) == 1.5
