"""Claims about the identifiers."""

from inferpool.core.ids import made_at_us


def test_a_uuid_of_version_7_tells_when_it_was_made() -> None:
    # The example of RFC 9562, appendix A.6: 2022-02-22 14:22:22.000 GMT-05:00.
    assert made_at_us("017f22e2-79b0-7cc3-98c4-dc0c0c07398f") == 1_645_557_742_000_000
