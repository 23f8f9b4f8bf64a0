"""Claims about single values changed in a body of which every other byte stays."""

import json

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from inferpool.core.errors import InvalidRequest
from inferpool.wire.splice import DuplicateModel, ask_for_usage, asked_for_usage, check_single_model, splice_model

NAMES = ["model", "stream_options", "include_usage", 'x"model', "model\\", "Model", "é", "{", "a", ""]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(2**64, 2**80)
    | st.floats(-1e9, 1e9)
    | st.sampled_from(NAMES)
)
VALUES = st.recursive(
    SCALARS | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=10,
)
BLANK = st.text(" \t\n\r", max_size=2)


@st.composite
def words(draw: st.DrawFn, text: str) -> str:
    """A JSON string, any letter of it perhaps as an escape."""
    if draw(st.booleans()):
        return json.dumps(text, ensure_ascii=draw(st.booleans()))
    return '"' + "".join(f"\\u{ord(one):04x}" if ord(one) < 0x10000 else one for one in text) + '"'


@st.composite
def written(draw: st.DrawFn, value: object) -> str:
    """The value as JSON, with odd white space, odd escapes."""
    if isinstance(value, dict):
        members = [f"{draw(words(key))}{draw(BLANK)}:{draw(BLANK)}{draw(written(value[key]))}" for key in value]
        return "{" + draw(BLANK) + f"{draw(BLANK)},{draw(BLANK)}".join(members) + draw(BLANK) + "}"
    if isinstance(value, list):
        return "[" + draw(BLANK) + f",{draw(BLANK)}".join(draw(written(one)) for one in value) + draw(BLANK) + "]"
    return draw(words(value)) if isinstance(value, str) else json.dumps(value)


@st.composite
def bodies(draw: st.DrawFn, *required: str) -> tuple[dict[str, object], bytes]:
    """An object, with it a way to write it."""
    members: dict[str, object] = draw(st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=6))
    for name in required:
        members[name] = draw(VALUES)
    order = draw(st.permutations(sorted(members)))
    value = {name: members[name] for name in order}
    return value, f"{draw(BLANK)}{draw(written(value))}{draw(BLANK)}".encode()


def differs_in_one_place(before: bytes, after: bytes, value: bytes) -> bool:
    """Whether `after` is `before` with one span of it replaced by `value`."""
    return any(
        after.startswith(value, at) and after[:at] == before[:at] and before.endswith(after[at + len(value) :])
        for at in range(len(after))
    )


# ---- model ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "spliced"),
    [
        ('{"model":"a"}', '{"model":"new"}'),
        ('{"model":"a","n":1.0,"n":12345678901234567890123}', '{"model":"new","n":1.0,"n":12345678901234567890123}'),
        (' { "x" : "é\\u00e9" ,\n"model"\t: "a" }\n', ' { "x" : "é\\u00e9" ,\n"model"\t: "new" }\n'),
        ('{"mod\\u0065l":"a"}', '{"mod\\u0065l":"new"}'),
        ('{"model":null}', '{"model":"new"}'),
        ('{"model": 12 }', '{"model": "new" }'),
        ('{"model":[{"model":"]"}]}', '{"model":"new"}'),
        ('{"x":{"model":"a"},"model":"b"}', '{"x":{"model":"a"},"model":"new"}'),
        ('{"x":["model"],"model":"b","y":"model"}', '{"x":["model"],"model":"new","y":"model"}'),
        ('{"x\\"model":"a","\\u006dodel":"b"}', '{"x\\"model":"a","\\u006dodel":"new"}'),
        ('{"x":"\\\\","model":"b\\"c\\\\","y":"}{"}', '{"x":"\\\\","model":"new","y":"}{"}'),
        ('{"x":"\\"model\\":\\"a\\"","model":"b"}', '{"x":"\\"model\\":\\"a\\"","model":"new"}'),
    ],
)
def test_only_the_top_level_model_is_replaced(body: str, spliced: str) -> None:
    assert splice_model(body.encode(), "new").decode() == spliced


def test_the_new_model_is_written_as_json() -> None:
    name = 'hf.co/x"y\\z:Q4\n'
    assert json.loads(splice_model(b'{"model":"a"}', name)) == {"model": name}


@given(bodies("model"), st.text(max_size=8))
@example(({"model": "a"}, b'{"model":"a"}'), "model")
def test_a_splice_changes_the_model_but_no_other_byte(body: tuple[dict[str, object], bytes], model: str) -> None:
    value, before = body
    after = splice_model(before, model)
    assert json.loads(after) == value | {"model": model}
    assert differs_in_one_place(before, after, msgspec.json.encode(model))


@pytest.mark.parametrize(
    "body",
    [
        '{"model":"a","model":"b"}',
        '{"model":"a","mod\\u0065l":"b"}',
        '{"\\u006D\\u006f\\u0064\\u0065\\u006C":"a","model":"b"}',
        '{"m\\u006fdel":"a","x":{},"mode\\u006c":"a"}',
        ' { "model" : {"model":1} , "x" : [ ] , "model" : null } ',
    ],
)
def test_a_body_with_two_models_is_refused(body: str) -> None:
    with pytest.raises(DuplicateModel) as refused:
        splice_model(body.encode(), "new")
    assert (refused.value.param, isinstance(refused.value, InvalidRequest)) == ("model", True)
    with pytest.raises(DuplicateModel):
        check_single_model(body.encode())


@given(bodies(), words("model"), words("model"), st.data())
def test_no_way_to_write_model_twice_goes_unseen(
    body: tuple[dict[str, object], bytes], first: str, second: str, data: st.DataObject
) -> None:
    value, _ = body
    rest = data.draw(written({name: value[name] for name in value if name != "model"})).lstrip(" \t\n\r")[1:]
    comma = "" if rest.lstrip(" \t\n\r") == "}" else ","
    with pytest.raises(DuplicateModel):
        check_single_model(f'{{{first}:"a",{second}:"b"{comma}{rest}'.encode())


@given(bodies())
def test_one_model_or_none_is_not_two(body: tuple[dict[str, object], bytes]) -> None:
    check_single_model(body[1])


@pytest.mark.parametrize(
    ("body", "spliced"),
    [
        ('{"x":1}', '{"x":1,"model":"new"}'),
        ("{}", '{"model":"new"}'),
        (" { } ", ' {"model":"new" } '),
        ('{"x":{"model":"a"}}', '{"x":{"model":"a"},"model":"new"}'),
        ('{"x\\"model":"a"}', '{"x\\"model":"a","model":"new"}'),
        ('{"x":"\\u006d"}\n', '{"x":"\\u006d","model":"new"}\n'),
    ],
)
def test_a_body_without_a_model_gets_one_at_its_end(body: str, spliced: str) -> None:
    check_single_model(body.encode())
    assert splice_model(body.encode(), "new").decode() == spliced


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"[]",
        b'["model"]',
        b'"model"',
        b'{"model":"a"',
        b'{"model":"a"}}',
        b'{"model":"a",}',
        b'{"model":"a" "b":1}',
        b'{"\xff":1,"model":2,"model":3,"stream_options":4}',
        b'{"model":"a","x":' + b"[" * 100_000,
    ],
)
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest, match="no JSON object"):
        splice_model(body, "new")
    with pytest.raises(InvalidRequest, match="no JSON object"):
        ask_for_usage(body)
    assert not asked_for_usage(body)


def test_a_doubtful_body_that_is_no_json_is_refused_by_the_check() -> None:
    with pytest.raises(InvalidRequest, match="no JSON object"):
        check_single_model(b'{"model":1,"model"')


def test_a_huge_string_of_escapes_is_scanned() -> None:
    body = b'{"model":"a","x":"%b","y":{"model":1}}' % (b"\\u0065\\\\" * 500_000)
    assert splice_model(body, "b") == body.replace(b'"a"', b'"b"', 1)


# ---- usage ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "asking"),
    [
        ("{}", '{"stream_options":{"include_usage":true}}'),
        ('{"a":1}', '{"a":1,"stream_options":{"include_usage":true}}'),
        (' { "a" : 1 } \n', ' { "a" : 1,"stream_options":{"include_usage":true} } \n'),
        ('{"stream_options":null}', '{"stream_options":{"include_usage":true}}'),
        ('{"stream_options":{}}', '{"stream_options":{"include_usage":true}}'),
        ('{"stream_options":{ "a":1 } }', '{"stream_options":{ "a":1,"include_usage":true } }'),
        ('{"stream_options":{"include_usage":false,"a":[]}}', '{"stream_options":{"include_usage":true,"a":[]}}'),
        ('{"stream_options":{"include_usag\\u0065":null}}', '{"stream_options":{"include_usag\\u0065":true}}'),
        ('{"stream\\u005foptions": {}}', '{"stream\\u005foptions": {"include_usage":true}}'),
        (
            '{"stream_options":null,"x":0,"stream_options":{"include_usage":0,"include_usage":1}}',
            '{"stream_options":{"include_usage":true},"x":0,"stream_options":{"include_usage":true,"include_usage":true}}',
        ),
        ('{"x":"\\u0061"}', '{"x":"\\u0061","stream_options":{"include_usage":true}}'),
        (
            '{"x":{"stream_options":{}},"y":"{"}',
            '{"x":{"stream_options":{}},"y":"{","stream_options":{"include_usage":true}}',
        ),
        ('{"stream_options":{"include_usage":true}}', '{"stream_options":{"include_usage":true}}'),
        ('{"stream_options":"yes"}', '{"stream_options":"yes"}'),
        ('{"stream_options":[{}]}', '{"stream_options":[{}]}'),
    ],
)
def test_asking_for_the_usage_changes_nothing_else(body: str, asking: str) -> None:
    assert ask_for_usage(body.encode()).decode() == asking


@given(bodies())
def test_a_body_that_asks_is_the_same_but_for_its_asking(body: tuple[dict[str, object], bytes]) -> None:
    value, before = body
    after = ask_for_usage(before)
    options = value.get("stream_options")
    if options is not None and not isinstance(options, dict):
        assert after == before
        return
    assert json.loads(after) == value | {"stream_options": (options or {}) | {"include_usage": True}}
    assert asked_for_usage(after)
    assert ask_for_usage(after) == after


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        ('{"stream_options":{"include_usage":true}}', True),
        ('{"stream\\u005foptions":{"include_usage":true,"a":1}}', True),
        ('{"stream_options":{"include_usage":false}}', False),
        ('{"stream_options":{"include_usage":"true"}}', False),
        ('{"stream_options":{}}', False),
        ('{"stream_options":null}', False),
        ('{"stream_options":3}', False),
        ('{"x":{"stream_options":{"include_usage":true}}}', False),
        ("{}", False),
    ],
)
def test_a_caller_asked_only_with_true(body: str, *, asked: bool) -> None:
    assert asked_for_usage(body.encode()) is asked
