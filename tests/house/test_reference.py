"""The reference pages compared with the code that they describe: nothing missing, nothing left over.

A page names each thing in the first column of a table, in backquotes: `settings.md` each setting, `errors.md` each code,
`metrics.md` each metric, `routes.md` each route as `GET /v1/models`. `cli.md` has a heading for each command, under it a table of its flags.
"""

import enum
import importlib
import inspect
import re
from collections.abc import Iterator
from importlib.util import find_spec
from types import ModuleType

import msgspec
import typer
from starlette.routing import Mount, Route
from typer.core import TyperGroup
from typer.main import get_command

from inferpool.core.access import Caller, Role
from inferpool.core.errors import Code
from inferpool.server.metrics import NAMES
from inferpool.server.routes import ROUTES
from tests.house.project import ROOT

REFERENCE = ROOT / "docs" / "reference"
FIRST_CELL = re.compile(r"^\|\s*`([^`]+)`", re.MULTILINE)
SECTION = re.compile(r"^#+\s+`?(inferpool[a-z -]*)`?\s*$", re.MULTILINE)
SHELL_FLAGS = {"--help", "--install-completion", "--show-completion"}


def page(name: str) -> str:
    """The page's text; empty while nobody wrote it."""
    path = REFERENCE / name
    return path.read_text(encoding="utf-8") if path.exists() else ""


def documented(name: str) -> list[str]:
    """What the page's tables name in their first column."""
    return sorted(FIRST_CELL.findall(page(name)))


def written(module: str) -> ModuleType | None:
    """The module, or None while it is not written."""
    parts = module.split(".")
    stages = [".".join(parts[: count + 1]) for count in range(len(parts))]
    return importlib.import_module(module) if all(find_spec(stage) for stage in stages) else None


def setting_names() -> list[str]:
    """Every setting once, of whatever struct of the settings module holds it."""
    module = written("inferpool.settings")
    if module is None:
        return []
    named = [value for value in vars(module).values() if inspect.isclass(value) and value.__module__ == module.__name__]
    structs = [one for one in named if issubclass(one, msgspec.Struct)]
    fields = [field for one in structs for field in msgspec.structs.fields(one)]
    return sorted(field.name for field in fields if field.type not in structs)


def route_names() -> list[str]:
    """Every route, a method each, as a caller writes it."""
    module = written("inferpool.server.routes")
    return sorted(spelled(module.ROUTES)) if module is not None else []


def spelled(routes: list[Route | Mount], prefix: str = "") -> Iterator[str]:
    """`METHOD PATH` of each route; a parameter without its convertor, HEAD as a part of GET."""
    for route in routes:
        path = prefix + re.sub(r":\w+}", "}", route.path)
        if isinstance(route, Mount):
            yield from spelled([one for one in route.routes if isinstance(one, Route | Mount)], path)
        else:
            yield from (f"{method} {path}" for method in (route.methods or set()) - {"HEAD"})


def command_flags() -> dict[str, list[str]]:
    """The flags of each command by its whole name."""
    module = written("inferpool.cli.app")
    return dict(commands("inferpool", module.app)) if module is not None else {}


def commands(name: str, app: typer.Typer) -> Iterator[tuple[str, list[str]]]:
    """Each command below `app` by its whole name with its flags."""
    waiting = [(name, get_command(app))]
    while waiting:
        whole, command = waiting.pop()
        if isinstance(command, TyperGroup):
            waiting += [(f"{whole} {part}", one) for part, one in command.commands.items() if not one.hidden]
        else:
            flags = [flag for one in command.params for flag in (*one.opts, *one.secondary_opts)]
            yield whole, sorted(flag for flag in flags if flag.startswith("--") and flag not in SHELL_FLAGS)


def documented_flags() -> dict[str, list[str]]:
    """The flags in the table under each command's heading."""
    parts = SECTION.split(page("cli.md"))
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    cells = {name.strip(): FIRST_CELL.findall(body) for name, body in sections.items()}
    return {name: sorted(one.split()[0] for one in found if one.startswith("--")) for name, found in cells.items()}


def test_every_setting_is_documented() -> None:
    assert documented("settings.md") == setting_names()


def test_every_route_is_documented() -> None:
    assert documented("routes.md") == route_names()


def test_every_route_says_who_may_call_it() -> None:
    told = dict(re.findall(r"^\| `([A-Z]+ [^`]+)` \| ([a-z, ]+) \|", page("routes.md"), re.MULTILINE))
    granted = {
        route.title: [role.value for role in Role if role is not Role.ADMIN and Caller("", role).scope(route.right)]
        for route in ROUTES
        if route.right is not None
    }
    assert told == {route.title: ", ".join(sorted(granted.get(route.title, ["anyone"]))) or "admin" for route in ROUTES}


def test_every_command_with_its_flags_is_documented() -> None:
    assert documented_flags() == command_flags()


def test_every_metric_is_documented() -> None:
    assert documented("metrics.md") == sorted(NAMES)


def test_every_error_code_is_documented() -> None:
    assert issubclass(Code, enum.StrEnum)
    assert documented("errors.md") == sorted(Code)
