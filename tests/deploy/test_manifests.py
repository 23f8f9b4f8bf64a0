"""Claims about what `deploy/` ships for containers: each manifest is read, what it names exists."""

import json
import re
import tomllib
from pathlib import Path

import msgspec
import pytest

from inferpool.server.options import ServerOptions
from inferpool.server.routes import ROUTES
from inferpool.settings import SettingError, load
from tests.deploy.manifests import environment, every, kubernetes, parts, pods, read, services, table
from tests.deploy.programs import DEPLOY

ROOT = DEPLOY.parent
TESTED_HAPROXY = "haproxy:2.6-bookworm"
"""The release that Debian 12 has, hence the one that the tests run."""
OPEN_PATHS = {route.path for route in ROUTES if route.right is None}
"""What a probe, which has no token, may ask."""
LAST_BYTES_S = 5
"""For the store's last commit after the drain."""


def seconds(text: object) -> int:
    """A duration as compose or systemd writes it."""
    return int(str(text).removesuffix("s"))


def version() -> str:
    """The version of the package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return str(project["version"])


@pytest.mark.parametrize(
    "path", sorted(path for path in DEPLOY.rglob("*") if path.is_file()), ids=lambda path: path.name
)
def test_nothing_that_is_shipped_opens_the_server_to_everybody(path: Path) -> None:
    assert "insecure" not in path.read_text().lower()


@pytest.mark.parametrize("name", ["compose.yaml", "kubernetes.yaml"])
def test_every_image_has_a_fixed_version_ours_the_packages(name: str) -> None:
    images = {str(image) for document in read(name) for image in every(document, "image")}
    assert [image for image in images if not re.fullmatch(r"[\w./-]+:\d[\w.-]+", image)] == []
    assert f"inferpool:{version()}" in images
    assert {image for image in images if image.startswith("haproxy")} <= {TESTED_HAPROXY}


@pytest.mark.parametrize("name", ["compose.yaml", "kubernetes.yaml"])
def test_every_setting_that_a_manifest_gives_is_one(name: str) -> None:
    keys = ("services", "containers", "initContainers")
    holders = [one for document in read(name) for key in keys for one in every(document, key)]
    containers = [one for holder in holders for one in parts(holder)]
    assert containers
    for container in containers:
        given = {key: str(value) for key, value in environment(container).items() if key.startswith("INFERPOOL_")}
        load({}, given, DEPLOY)


def test_every_path_that_a_probe_asks_is_a_route_without_a_token() -> None:
    probes = [table(one)["path"] for one in every(read("kubernetes.yaml"), "httpGet")]
    assert {str(path) for path in probes} == {"/readyz", "/healthz"}
    checks = [json.dumps(table(one)["test"]) for one in every(list(services().values()), "healthcheck")]
    asked = {path for check in checks for path in re.findall(r"://127\.0\.0\.1:\d+(/\w+)", check)}
    assert asked == {"/readyz"}
    assert {*map(str, probes), *asked} <= OPEN_PATHS


def test_a_server_has_longer_to_end_than_it_lets_accepted_calls_take() -> None:
    options = ServerOptions()
    needed = options.drain_s + options.farewell_s + LAST_BYTES_S
    [server] = [pod for pod in pods() if "initContainers" in pod]
    [before] = every(server, "preStop")
    pause = int(str(msgspec.convert(table(table(before)["exec"])["command"], list[str])[-1]))
    assert server["terminationGracePeriodSeconds"] == 60 >= pause + needed
    graces = [seconds(table(services()[f"inferpool-{place}"])["stop_grace_period"]) for place in (1, 2, 3)]
    assert min(graces) >= needed


def test_three_servers_of_which_two_are_always_there() -> None:
    assert table(kubernetes("Deployment")["spec"])["replicas"] == 3
    assert table(kubernetes("PodDisruptionBudget")["spec"])["minAvailable"] == 2
    assert [name for name in services() if name.startswith("inferpool-")] == [
        "inferpool-1",
        "inferpool-2",
        "inferpool-3",
    ]


def test_no_pod_is_told_of_kubernetes_services_by_variables_that_a_server_refuses() -> None:
    assert [pod.get("enableServiceLinks") for pod in pods()] == [False, False]
    with pytest.raises(SettingError, match="INFERPOOL_PORT"):
        load({}, {"INFERPOOL_PORT": "tcp://10.0.0.1:8010"})


def test_every_container_of_ours_runs_without_rights() -> None:
    for pod in pods():
        assert table(pod["securityContext"])["runAsNonRoot"] is True
    confined = [
        table(one) for one in every(kubernetes("Deployment"), "securityContext") if "capabilities" in table(one)
    ]
    assert [one["allowPrivilegeEscalation"] for one in confined] == [False, False]
    assert re.search(r"(?m)^USER 10001:10001$", (DEPLOY / "Dockerfile").read_text())


def test_the_ingress_neither_collects_a_stream_nor_cuts_a_patient_caller_off() -> None:
    calls, sessions = (
        table(table(kubernetes("Ingress", name)["metadata"])["annotations"])
        for name in ("inferpool", "inferpool-sessions")
    )
    prefix = "nginx.ingress.kubernetes.io/"
    assert [one[prefix + "proxy-buffering"] for one in (calls, sessions)] == ["off", "off"]
    assert (calls[prefix + "proxy-read-timeout"], sessions[prefix + "proxy-read-timeout"]) == ("660", "60")
    assert (calls[prefix + "proxy-body-size"], sessions[prefix + "proxy-body-size"]) == ("32m", "256m")
    assert sessions[prefix + "upstream-hash-by"] == "$http_inferpool_session_secret"


def test_every_file_that_the_image_is_built_from_exists_is_let_in() -> None:
    copied = re.findall(r"(?m)^COPY (?!--from)(.+) \S+$", (DEPLOY / "Dockerfile").read_text())
    names = [name.removeprefix("./") for line in copied for name in line.split()]
    assert [name for name in names if not (ROOT / name).exists()] == []
    let_in = [
        line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")
    ]
    assert sorted(let_in) == sorted(names)
