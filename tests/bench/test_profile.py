"""The sums of a profile."""

from bench.profile import count_samples

STACKS = """\
serve (server);handle (server);encode (wire) 300
serve (server);handle (server) 100
serve (server);handle (server);handle (server) 50
serve (server);find (<frozen importlib._bootstrap>) 900"""


def test_a_function_has_its_own_time_beside_that_of_what_it_calls() -> None:
    profile = count_samples("server", STACKS, units=10)
    assert profile.own == {"encode (wire)": 300, "handle (server)": 150}
    assert profile.whole["handle (server)"] == 450


def test_importing_is_left_out() -> None:
    assert count_samples("server", STACKS, units=10).own.total() == 450
