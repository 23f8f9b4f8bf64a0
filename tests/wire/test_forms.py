"""Claims about forms with files: fields are found in place, what is no form is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferpool.core.errors import InvalidRequest
from inferpool.wire.forms import (
    PART_LIMIT,
    VALUE_LIMIT,
    form_fields,
    is_form,
    read_form,
    splice_field,
    without_boundary,
)

KIND = "multipart/form-data; boundary=b0"
FILE = b'--b0\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\nContent-Type: audio/wav\r\n\r\n%b\r\n'
MODEL = b'--b0\r\ncontent-disposition: form-data; name="model"\r\n\r\n%b\r\n'
END = b"--b0--\r\n"
NAMES = frozenset({"model"})


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        (b"multipart/form-data; boundary=x", True),
        (b"Multipart/Form-Data;boundary=x", True),
        (b"multipart/mixed; boundary=x", False),
        (b"application/json", False),
        (b"", False),
    ],
)
def test_a_form_says_so_in_its_type(kind: bytes, form: bool) -> None:
    assert is_form(kind) is form


@pytest.mark.parametrize("preamble", [b"", b"\r\n", b"\r\n\r\n"])
def test_fields_are_found_beside_a_file(preamble: bytes) -> None:
    body = preamble + FILE % b"\x00\xff\r\n--b" + MODEL % b"whisper" + END
    assert form_fields(body, KIND, NAMES) == {"model": "whisper"}
    assert [part.name for part in read_form(body, KIND)] == ["file", "model"]


@given(st.binary(), st.text(st.characters(codec="utf-8")))
def test_changing_a_field_changes_nothing_else(file: bytes, model: str) -> None:
    data = file.replace(b"--b0", b"")
    body = FILE % data + MODEL % b"x" + END
    spliced = splice_field(body, KIND, "model", "new")
    assert spliced == FILE % data + MODEL % b"new" + END
    if model and "--b0" not in model:
        before = MODEL % model.encode() + FILE % data + END
        assert splice_field(before, KIND, "model", "new") == MODEL % b"new" + FILE % data + END


@pytest.mark.parametrize("body", [FILE % b"x" + END, MODEL % b"a" + MODEL % b"b" + END, MODEL % b"" + END])
def test_a_field_is_changed_only_where_there_is_one(body: bytes) -> None:
    with pytest.raises(InvalidRequest) as caught:
        splice_field(body, KIND, "model", "new")
    assert caught.value.param == "model"


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        (b"", KIND, "last boundary is missing"),
        (b"no form", KIND, "no multipart form"),
        (MODEL % b"m", KIND, "last boundary is missing"),
        (MODEL % b"m" + END, "multipart/form-data", "names no boundary"),
        (MODEL % b"m" + END, f"multipart/form-data; boundary={'x' * 300}", "no multipart form"),
        (MODEL % b"m" + END, "multipart/form-data; boundary=other", "no multipart form"),
        (b"--b0\r\n\r\nx\r\n" + END, KIND, "Content-Disposition"),
        (b'--b0\r\nContent-Disposition: attachment; name="model"\r\n\r\nx\r\n' + END, KIND, "Content-Disposition"),
        (b"--b0\r\nContent-Disposition: form-data\r\n\r\nx\r\n" + END, KIND, "Content-Disposition"),
        (MODEL % b"a" + MODEL % b"b" + END, KIND, "twice"),
        (MODEL % (b"m" * (VALUE_LIMIT + 1)) + END, KIND, "more than"),
        (MODEL % b"\xff" + END, KIND, "not UTF-8"),
        (b'--b0\r\nContent-Disposition: form-data; name="f"\r\n\r\n\r\n' * (PART_LIMIT + 1) + END, KIND, "at most"),
    ],
)
def test_what_is_no_form_of_ours_says_why(body: bytes, kind: str, said: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        form_fields(body, kind, NAMES)
    assert said in caught.value.message


def test_a_broken_form_is_not_quoted_in_any_log(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(InvalidRequest):
        read_form(b"--b0\r\nsecret words\r\n", KIND)
    assert caplog.text == ""


def test_two_forms_that_differ_in_their_boundary_alone_are_the_same() -> None:
    first = FILE % b"x" + MODEL % b"m" + END
    second = first.replace(b"b0", b"b1")
    assert without_boundary(first, KIND) == without_boundary(second, "multipart/form-data; boundary=b1")
    assert without_boundary(first, "application/json; boundary=b0") == first
    assert without_boundary(first, "multipart/form-data") == first
