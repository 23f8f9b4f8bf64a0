"""What journeys of workers look at: a task that one holds, the answers on its disk."""

from pathlib import Path

from tests.journeys.site import Site


def held(site: Site, task_id: str) -> tuple[object, object]:
    """Attempt and tries of a task that a worker holds; that it runs is written with the next commit, whenever that is."""
    status, attempt, tries = site.standing(task_id)
    assert status in {"claimed", "running"}
    return attempt, tries


def outbox(site: Site) -> list[Path]:
    """The whole answers that lie on the disk of a worker; a full one may hold the beginning of another for a moment."""
    return sorted(path for path in site.folder.rglob("*.result") if not path.name.startswith("."))
