"""Every setting once, read from flags, then the environment, then `inferpool.toml`.

A setting has one name everywhere: `database_url` is `--database-url` where it is a flag, `INFERPOOL_DATABASE_URL` in the
environment, `database_url = "…"` in the file `inferpool.toml` of the working directory. Nothing else reads the
environment. `docs/reference/settings.md` lists them all.
"""

import difflib
import ipaddress
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, NamedTuple, TypeAlias, TypeVar, get_args, get_origin

import msgspec
import platformdirs
from msgspec import Meta

FILE: Final = "inferpool.toml"
PREFIX: Final = "INFERPOOL_"
_NOT_OURS: Final = "INFERPOOL_TEST_"
"""Variables that begin like this are addressed to the project's tests."""

Seconds: TypeAlias = Annotated[float, Meta(gt=0, description="seconds, more than 0, such as 2.5")]
Pause: TypeAlias = Annotated[float, Meta(ge=0, description="seconds, 0 or more, such as 0.05")]
Count: TypeAlias = Annotated[int, Meta(ge=1, description="a whole number from 1 on")]
Port: TypeAlias = Annotated[int, Meta(ge=0, le=65535, description="a port number up to 65535, 0 for any free one")]
Flag: TypeAlias = Annotated[bool, Meta(description="true or false")]
Url: TypeAlias = Annotated[
    str, Meta(pattern=r"^https?://[^\s/]+", description="an address that begins with http:// or https://")
]
Name: TypeAlias = Annotated[
    str, Meta(pattern=r"^[^\s/@][^\s/@]*$", max_length=100, description="a name without spaces, slashes or @")
]
Word: TypeAlias = Annotated[str, Meta(min_length=1, max_length=200, description="a name of at most 200 characters")]
Text: TypeAlias = Annotated[str, Meta(min_length=1, description="text")]


USUAL_PORTS: Final = (11434, 8080, 8000, 30000, 1234)
"""Where Ollama, llama.cpp, vLLM, SGLang, LM Studio listen when nobody tells them otherwise."""


class SettingError(ValueError):
    """A setting is unknown or malformed; the message names it, the form of its value, the remedy."""


class SharedSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What more than one program obeys."""

    server: list[Url] = msgspec.field(default_factory=lambda: ["http://127.0.0.1:8010"])
    """Where workers and client commands find the server; several are equal."""
    token: Text | None = None
    """What workers and client commands show the server; None: nothing, for one that is open."""
    log_format: Literal["console", "json"] = "console"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    failpoint: Text | None = None
    """`NAME[:N]`: the process stops itself (SIGSTOP) when it reaches that place for the N-th time. For tests."""


class ServeSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What `inferpool serve` obeys; the defaults of spec sections 3 to 9."""

    host: Text = "127.0.0.1"
    port: Port = 8010
    processes: Count = 1
    """Equal servers on the port, each a process; more than one on PostgreSQL alone."""
    insecure: Flag = False
    """Listen on any address, answer whoever asks, although there is no token."""
    database_url: Text | None = None
    """None: SQLite in the user's data folder."""
    max_body_bytes: Count = 32 * 2**20
    body_s: Seconds = 30.0
    headers_wait_s: Seconds = 15.0
    comment_s: Seconds = 15.0
    drain_s: Pause = 30.0
    grace_s: Seconds = 10.0
    heartbeat_s: Seconds = 5.0
    silence_s: Seconds = 15.0
    ping_s: Seconds = 5.0
    slot_release_s: Seconds = 10.0
    poll_s: Seconds = 1.0
    beat_s: Seconds = 2.0
    dead_s: Seconds = 6.0
    sweep_s: Seconds = 60.0
    sweep_limit: Count = 50
    wait_limit_s: Seconds = 600.0
    run_limit_s: Seconds = 3600.0
    stale_after_s: Seconds = 90.0
    forget_after_s: Seconds = 14400.0
    keep_tasks_s: Seconds = 604800.0
    keep_chunks_s: Seconds = 3600.0
    keep_keys_s: Seconds = 86400.0
    keep_audit_s: Seconds = 7776000.0
    queue_tasks: Count = 1_000_000
    queue_bytes: Count = 50 * 10**9
    stream_bytes: Count = 64 * 2**20
    feed_bytes: Count = 512 * 2**20


class WorkerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What `inferpool worker` obeys."""

    engine: list[Url] = []
    """Empty: those that answer at `local_engines`."""
    engine_api_key: Text | None = None
    local_engines: list[Url] = msgspec.field(
        default_factory=lambda: [f"http://127.0.0.1:{port}" for port in USUAL_PORTS]
    )
    """Where to look for engines when none is named."""
    name: Name | None = None
    """None: the host's name."""
    model: list[Word] = []
    """Empty: all that the engine lists."""
    pool: Word | None = None
    slots: Count | None = None
    """None: the engine's own total where it tells, else 4."""
    state_folder: Text | None = None
    """None: the user's state folder. Each worker has its own folder in it."""
    probe_s: Seconds = 5.0
    probe_timeout_s: Seconds = 10.0
    engine_silence_s: Seconds = 300.0
    leave_s: Pause = 30.0
    flush_s: Pause = 5.0
    shelve_after_s: Pause = 0.05
    disk_retry_s: Seconds = 1.0
    answer_s: Seconds = 10.0
    channel_s: Seconds = 15.0


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """All settings of one process."""

    shared: SharedSettings
    serve: ServeSettings
    worker: WorkerSettings


class Source(NamedTuple):
    """Where a value stood, as a person finds it again."""

    place: str
    value: object


S = TypeVar("S", SharedSettings, ServeSettings, WorkerSettings)


def load(
    flags: Mapping[str, object], environment: Mapping[str, str] | None = None, folder: Path | None = None
) -> Settings:
    """The settings of this process; a flag that is None (or an empty list) was not given.

    Raises `SettingError` for the first one that is unknown or malformed.
    """
    given = os.environ if environment is None else environment
    layers = [_from_flags(flags), _from_environment(given), _from_file((folder or Path()) / FILE)]
    found = {name: source for layer in reversed(layers) for name, source in layer.items()}
    return Settings(
        shared=_section(SharedSettings, found),
        serve=_section(ServeSettings, found),
        worker=_section(WorkerSettings, found),
    )


def database(url: str | None) -> Path | str:
    """The SQLite file that a database URL (or a bare path) names, the user's own when it is None; a URL of PostgreSQL stays.

    `sqlite:///var/lib/inferpool.db` is an absolute path, `sqlite:inferpool.db` or `inferpool.db` one below the working
    directory. Raises `SettingError` for any other kind of database.
    """
    if url is None:
        return platformdirs.user_data_path("inferpool") / "inferpool.db"
    scheme, colon, rest = url.partition(":")
    if scheme in {"postgres", "postgresql"} and rest.startswith("//"):
        return url
    if not colon or scheme != "sqlite":
        rest = url
    if rest.startswith("//"):
        if not rest.startswith("///"):
            raise SettingError(
                f"database_url: {url!r} names a host; write sqlite:///PATH with three slashes, or a path"
            )
        rest = "/" + rest.lstrip("/")
    if "://" in rest or rest in {"", ":memory:"}:
        raise SettingError(
            "database_url: it is no file, no PostgreSQL; give sqlite:///PATH, a path or postgresql://USER@HOST/DATABASE"
        )
    return Path(rest).expanduser()


def state_path(folder: str | None) -> Path:
    """The folder in which each worker has its own."""
    return platformdirs.user_state_path("inferpool") if folder is None else Path(folder).expanduser()


def check_host(host: str) -> None:
    """Raises `SettingError` for an address that other machines could reach, for a server without any token."""
    if host == "localhost":
        return
    try:
        local = ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        local = False
    if not local:
        raise SettingError(
            f"host: {host} is not a loopback address, where a server without any token would serve everybody; make one: "
            "inferpool token create --role admin --subject NAME (or take --insecure)"
        )


def _fields(kind: type[msgspec.Struct]) -> dict[str, msgspec.structs.FieldInfo]:
    return {field.name: field for field in msgspec.structs.fields(kind)}


_KNOWN: Final = {
    name: field for kind in (SharedSettings, ServeSettings, WorkerSettings) for name, field in _fields(kind).items()
}


def _from_flags(flags: Mapping[str, object]) -> dict[str, Source]:
    return {
        name: Source("--" + name.replace("_", "-"), value) for name, value in flags.items() if value not in (None, [])
    }


def _from_environment(environment: Mapping[str, str]) -> dict[str, Source]:
    found = {}
    for variable, value in environment.items():
        if not variable.startswith(PREFIX) or variable.startswith(_NOT_OURS):
            continue
        name = variable.removeprefix(PREFIX).lower()
        _check_known(name, variable)
        found[name] = Source(variable, _split(name, value))
    return found


def _split(name: str, value: str) -> object:
    if get_origin(_KNOWN[name].type) is list:
        return [part.strip() for part in value.split(",") if part.strip()]
    return value


def _from_file(path: Path) -> dict[str, Source]:
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingError(f"{path}: cannot be read as TOML ({error}); correct it or move it away") from error
    for name in table:
        _check_known(name, f"{name} in {path}")
    return {name: Source(f"{name} in {path}", value) for name, value in table.items()}


def _check_known(name: str, place: str) -> None:
    if name in _KNOWN:
        return
    near = difflib.get_close_matches(name, _KNOWN, n=1)
    hint = f"did you mean {near[0]}?" if near else "docs/reference/settings.md lists them"
    raise SettingError(f"{place}: there is no such setting; {hint}")


def _section(kind: type[S], found: Mapping[str, Source]) -> S:
    values = {name: _value(name, found[name]) for name in _fields(kind) if name in found}
    return msgspec.convert(values, kind)


def _value(name: str, source: Source) -> object:
    form = _KNOWN[name].type
    try:
        return msgspec.convert(source.value, form, strict=not isinstance(source.value, str))
    except msgspec.ValidationError as error:
        given, wanted = source.value, form
        if source.place.startswith("--") and isinstance(given, list) and len(given) == 1:
            given, wanted = given[0], get_args(form)[0]
        raise SettingError(f"{source.place}: {given!r} will not do; give {_form(wanted)}") from error


def _form(kind: object) -> str:
    """The form of a setting's value in words."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Literal:
        return "one of " + ", ".join(str(part) for part in parts)
    if origin is list:
        return f"a list, each {_form(parts[0])}"
    described = [text for text in _descriptions(kind) if text]
    return " or ".join(described) or str(kind)


def _descriptions(kind: object) -> Iterator[str]:
    for part in (kind, *get_args(kind)):
        for meta in getattr(part, "__metadata__", ()):
            if isinstance(meta, Meta):
                yield meta.description or ""
