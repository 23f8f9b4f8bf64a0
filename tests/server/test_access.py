"""Claims about whom an open server answers."""

import pytest

from tests.server.rig import HOST, JSON, Rig

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.0.1:8010", "localhost", "LocalHost:1", "[::1]", "[::1]:8010", "localhost:65535"]
)
async def test_loopback_names_are_answered(rig: Rig, host: str) -> None:
    assert (await rig.call("GET", "/healthz", {"host": host})).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"host": ""},
        {"host": "example.com"},
        {"host": "localhost.example.com"},
        {"host": "127.0.0.1.example.com:8010"},
        {"host": "localhost:"},
        {"host": "localhost:port"},
        {"host": "localhost:123456"},
        {"host": "localhost\n"},
        {"host": "127.0.0.2"},
        {"host": "[::2]"},
    ],
)
async def test_any_other_host_is_refused_with_the_remedy(rig: Rig, headers: dict[str, str]) -> None:
    answer = await rig.call("GET", "/healthz", headers)
    assert (answer.status, answer.error["code"], answer.error["param"]) == (403, "forbidden", "Host")
    assert "127.0.0.1" in str(answer.error["message"])


@pytest.mark.parametrize("origin", ["http://127.0.0.1:8010", "HTTP://127.0.0.1:8010"])
async def test_our_own_pages_may_ask(rig: Rig, origin: str) -> None:
    assert (await rig.call("GET", "/healthz", {**HOST, "origin": origin})).status == 200


@pytest.mark.parametrize(
    "origin",
    ["null", "", "http://example.com", "https://127.0.0.1:8010", "http://127.0.0.1:3000", "http://localhost:8010"],
)
async def test_a_foreign_page_may_not(rig: Rig, origin: str) -> None:
    answer = await rig.call("GET", "/healthz", {**HOST, "origin": origin})
    assert (answer.status, answer.error["param"]) == (403, "Origin")


@pytest.mark.parametrize("name", ["Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "x-forwarded-anything"])
async def test_what_came_through_a_proxy_is_refused(rig: Rig, name: str) -> None:
    answer = await rig.call("GET", "/healthz", {**HOST, name: "1.2.3.4"})
    assert (answer.status, answer.error["code"], answer.error["param"]) == (403, "forbidden", name.lower())
    assert "directly" in str(answer.error["message"])


@pytest.mark.parametrize(
    "kind",
    ["application/json", "Application/JSON", "application/json; charset=utf-8", 'application/json;charset="UTF-8"'],
)
async def test_a_body_may_be_json(rig: Rig, kind: str) -> None:
    answer = await rig.call("POST", "/v1/chat/completions", {**HOST, "content-type": kind}, b"{}")
    assert answer.status == 400


@pytest.mark.parametrize(
    ("headers", "param"),
    [
        ({}, "Content-Type"),
        ({"content-type": "text/plain"}, "Content-Type"),
        ({"content-type": "application/x-www-form-urlencoded"}, "Content-Type"),
        ({"content-type": "multipart/form-data; boundary=x"}, "Content-Type"),
        ({"content-type": "application/json; charset=latin-1"}, "Content-Type"),
        ({"content-type": "application/jsonx"}, "Content-Type"),
        ({"content-type": "application/json", "content-encoding": "gzip"}, "Content-Encoding"),
    ],
)
@pytest.mark.parametrize("body", [b"{}", [b"{", b"}"]])
async def test_a_body_in_any_other_form_is_refused(
    rig: Rig, headers: dict[str, str], param: str, body: bytes | list[bytes]
) -> None:
    answer = await rig.call("POST", "/v1/chat/completions", {**HOST, **headers}, body)
    assert (answer.status, answer.error["code"], answer.error["param"]) == (415, "unsupported_media_type", param)


async def test_an_empty_post_needs_no_type(rig: Rig) -> None:
    answer = await rig.call("POST", "/v1/chat/completions", HOST)
    assert (answer.status, answer.error["code"]) == (400, "invalid_request")


async def test_an_identity_coding_is_none(rig: Rig) -> None:
    answer = await rig.call("POST", "/v1/chat/completions", {**JSON, "content-encoding": "Identity"}, b"{}")
    assert answer.status == 400
