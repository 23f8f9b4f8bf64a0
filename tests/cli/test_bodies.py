"""Claims about the words in an engine's bodies."""

import pytest

from inferpool.cli.bodies import words_of


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('{"choices": [{"delta": {"content": "a"}}]}', "a"),
        ('{"choices": [{"message": {"content": "b"}}]}', "b"),
        ('{"choices": [{"text": "c"}, {"index": 1, "text": "another"}]}', "c"),
        ('{"choices": [{"delta": {"role": "assistant", "content": null}}]}', ""),
        ('{"choices": [], "usage": {}}', ""),
        ('{"choices": 5}', None),
        ("[DONE]", None),
    ],
)
def test_the_words_are_those_of_the_first_choice(body: str, words: str | None) -> None:
    assert words_of(body) == words
