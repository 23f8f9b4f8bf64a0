"""Reads the manifests of `deploy/` for containers."""

from collections.abc import Iterator

import msgspec

from tests.deploy.programs import DEPLOY


def read(name: str) -> list[object]:
    """The documents of a YAML file."""
    return [msgspec.yaml.decode(document) for document in (DEPLOY / name).read_text().split("\n---\n")]


def every(node: object, key: str) -> Iterator[object]:
    """Each value under that key, however deep."""
    if isinstance(node, dict):
        yield from (value for name, value in node.items() if name == key)
        yield from (found for value in node.values() for found in every(value, key))
    elif isinstance(node, list):
        yield from (found for value in node for found in every(value, key))


def table(node: object) -> dict[str, object]:
    """The node, which must be a mapping."""
    return msgspec.convert(node, dict[str, object])


def kubernetes(kind: str, name: str = "inferpool") -> dict[str, object]:
    """One object of the Kubernetes manifest."""
    found = [table(one) for one in read("kubernetes.yaml")]
    [wanted] = [one for one in found if one["kind"] == kind and table(one["metadata"])["name"] == name]
    return wanted


def pods() -> list[dict[str, object]]:
    """The specification of each pod of the Kubernetes manifest."""
    return [table(table(one)["spec"]) for one in every(read("kubernetes.yaml"), "template")]


def services() -> dict[str, object]:
    """The services of the compose file, their merge keys resolved."""
    return table(table(read("compose.yaml")[0])["services"])


def parts(node: object) -> list[object]:
    """What a mapping holds under its names, or a list."""
    return list(node.values()) if isinstance(node, dict) else msgspec.convert(node, list[object])


def environment(node: object) -> dict[str, object]:
    """The variables of a container, in the form of either tool."""
    if "environment" in table(node):
        return table(table(node)["environment"])
    listed = msgspec.convert(table(node).get("env", []), list[dict[str, object]])
    return {str(one["name"]): one.get("value", "a secret") for one in listed}
