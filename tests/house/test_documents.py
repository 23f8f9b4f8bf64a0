"""The documents at the root, the pages under docs."""

import re
from pathlib import Path

import pytest

from tests.house.project import ROOT, files, text

ROOT_DOCUMENTS = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "Makefile")
MAX_ARCHITECTURE_LINES = 150
BINARY = {".gif", ".ico", ".png", ".woff2"}
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.DOTALL | re.MULTILINE)
# A path that exists on one machine only; an index of packages that one place may not reach.
LOCAL = re.compile(r"(?<![\w.<>$~})-])/(?:home|opt|root|srv|tmp|work|mnt|Users)/[\w.-]+|[A-Z]:\\\\Users")
HOSTS = {
    "127.0.0.1", "localhost", "[::1]", "example.com", "example.org", "example.net", "example.invalid", "example.test",
    "www.apache.org", "keepachangelog.com", "semver.org", "github.com", "www.rfc-editor.org", "datatracker.ietf.org",
    "html.spec.whatwg.org", "docs.python.org", "www.sqlite.org", "sqlite.org", "www.postgresql.org",
}  # fmt: skip
URL = re.compile(r"https?://(\[[^\]]*\]|[\w.-]+\w)")
INDEX_OPTION = re.compile(r"^\s*--?(?:extra-)?(?:index-url|find-links|trusted-host|i|f)\b", re.MULTILINE)


def markdown() -> list[Path]:
    """Every page of the project."""
    return [path for path in files() if path.suffix == ".md"]


def readable() -> list[Path]:
    """Every file that holds text."""
    return [path for path in files() if path.suffix not in BINARY]


def slug(heading: str) -> str:
    """The anchor that a page's heading gets where pages are rendered."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    """The anchors of the page's headings."""
    prose = re.sub(r"^```.*?^```", "", text(page), flags=re.DOTALL | re.MULTILINE)
    return {slug(heading) for heading in re.findall(r"^#+\s+(.+)$", prose, re.MULTILINE)}


def broken(page: Path, target: str) -> bool:
    """Whether a link of `page` leads nowhere within the project."""
    if re.match(r"[a-z]+:", target):
        return False
    name, _, anchor = target.partition("#")
    goal = (page.parent / name).resolve() if name else page
    if not goal.exists():
        return True
    return bool(anchor) and goal.suffix == ".md" and anchor not in anchors(goal)


@pytest.mark.parametrize("name", ROOT_DOCUMENTS)
def test_a_newcomer_finds_the_usual_documents(name: str) -> None:
    assert (ROOT / name).is_file()


def test_the_architecture_is_read_in_one_sitting() -> None:
    assert len(text(ROOT / "ARCHITECTURE.md").splitlines()) <= MAX_ARCHITECTURE_LINES


def test_every_link_within_the_project_leads_somewhere() -> None:
    links = [(page, one or other) for page in markdown() for one, other in LINK.findall(CODE.sub("", text(page)))]
    assert [f"{page.relative_to(ROOT)}: {target}" for page, target in links if broken(page, target)] == []


def test_every_make_command_that_a_document_shows_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", text(ROOT / "Makefile"), re.MULTILINE))
    shown = {
        (page.name, name)
        for page in markdown()
        for code in CODE.findall(text(page))
        for name in re.findall(r"(?:^|`|&& |\$ )make ([a-z]+)", code, re.MULTILINE)
    }
    assert sorted(name for name in shown if name[1] not in targets) == []


def test_no_file_names_a_place_of_one_machine() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}" for path in readable() for match in LOCAL.finditer(text(path))
    ]
    assert found == []


def test_no_file_names_a_host_but_the_well_known() -> None:
    # RFC 2606 keeps these names for examples: they can never be a place.
    reserved = (".example", ".invalid", ".localhost", ".test")
    hosts = {(str(path.relative_to(ROOT)), host) for path in readable() for host in URL.findall(text(path))}
    known = [one for one in hosts if one[1] in HOSTS or one[1].endswith(reserved) or "." not in one[1]]
    assert sorted(hosts.difference(known)) == []


def test_no_requirement_names_where_packages_come_from() -> None:
    lists = [path for path in files() if path.name.startswith("requirements")]
    assert [path.name for path in lists if INDEX_OPTION.search(text(path))] == []


def test_the_changelog_has_room_for_the_next_release() -> None:
    assert "## [Unreleased]" in text(ROOT / "CHANGELOG.md")


def test_every_decision_is_listed_in_the_index() -> None:
    folder = ROOT / "docs" / "decisions"
    index = text(folder / "README.md")
    records = [path.name for path in sorted(folder.glob("[0-9]*.md"))]
    assert [name for name in records if f"({name})" not in index] == []
    numbers = [name.split("-")[0] for name in records]
    assert len(numbers) == len(set(numbers))


def test_every_decision_says_why_with_what_else_was_possible() -> None:
    records = sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))
    parts = ("## Context", "## Decision", "## Consequences")
    assert [path.name for path in records if any(part not in text(path) for part in parts)] == []
