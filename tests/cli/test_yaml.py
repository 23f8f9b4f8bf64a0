"""Claims about YAML: block style for people, nothing that a parser would read as something else."""

import pytest

from inferpool.cli.yaml import Json, dump


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"a": 1, "b": [1.5, True, None]}, "a: 1\nb:\n  - 1.5\n  - true\n  - null\n"),
        ({"a": {"b": {"c": "d"}}}, "a:\n  b:\n    c: d\n"),
        ([{"a": 1, "b": 2}, {"a": 3}], "- a: 1\n  b: 2\n- a: 3\n"),
        ([[1, 2], []], "- - 1\n  - 2\n- []\n"),
        ({"a": {}, "b": []}, "a: {}\nb: []\n"),
        ("plain words", "plain words\n"),
        (["yes", "null", "1", "", "a: b", "#x", "a ", "two\nlines", "é"], None),
    ],
)
def test_a_value_is_written_as_yaml(value: Json, text: str | None) -> None:
    expected = text or '- "yes"\n- "null"\n- "1"\n- ""\n- "a: b"\n- "#x"\n- "a "\n- "two\\nlines"\n- "é"\n'
    assert dump(value) == expected
