"""The Helm chart, rendered, and the operator's identity with exactly the rights it grants."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from binaries import need_tool
from control_plane import ControlPlane

CHART = Path(__file__).parents[1] / "charts/haversack"
NAMESPACE = "haversack-system"
RELEASE = "haversack"
RBAC_KINDS = frozenset(
    {"ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}
)


class ChartError(Exception):
    """Helm refused the chart or the values; its own words."""


class Right(NamedTuple):
    """One verb on one resource."""

    group: str
    resource: str
    verb: str


def helm(*args: str, kubeconfig: Path | None = None) -> str:
    """Helm's standard output. Raises ``ChartError``."""
    where = ["--kubeconfig", str(kubeconfig)] if kubeconfig else []
    command = [str(need_tool("helm")), *args, *where]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise ChartError(done.stdout + done.stderr)
    return done.stdout


def render(
    values: Mapping[str, Any] | None = None, *, where: str = NAMESPACE
) -> list[dict[str, Any]]:
    """The manifests of a release with these values."""
    settings = [f"--set-json={name}={json.dumps(value)}" for name, value in (values or {}).items()]
    text = helm("template", RELEASE, str(CHART), "--namespace", where, *settings)
    return [document for document in yaml.safe_load_all(text) if document]


def of_kind(documents: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """The only manifest of its kind."""
    (found,) = (document for document in documents if document["kind"] == kind)
    return found


def rights(role: Mapping[str, Any]) -> Iterator[Right]:
    """What a Role or ClusterRole grants, one by one."""
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for verb in rule["verbs"]:
                    yield Right(group, resource, verb)


def operator_rights(documents: list[dict[str, Any]]) -> set[Right]:
    """All that the rendered chart grants to the operator itself."""
    granted = [d for d in documents if d["kind"] in {"Role", "ClusterRole"}]
    return {right for role in granted if not _is_aggregated(role) for right in rights(role)}


def operator_kubeconfig(
    plane: ControlPlane, *namespaces: str, without: Right | None = None
) -> Path:
    """A kubeconfig of the operator's ServiceAccount with the chart's rights in these namespaces.

    No namespace: everywhere. ``without`` takes one right away, to show that it is needed.
    """
    documents = [
        document
        for document in render({"watch.namespaces": list(namespaces)})
        if document["kind"] in RBAC_KINDS
    ]
    for name in (NAMESPACE, *namespaces):
        plane.apply(json.dumps(namespace(name)))
    for document in documents:
        if "rules" in document and not _is_aggregated(document):
            document["rules"] = [_as_rule(right) for right in rights(document) if right != without]
    plane.apply(yaml.safe_dump_all(documents))
    account = of_kind(documents, "ServiceAccount")["metadata"]["name"]
    return plane.service_account_kubeconfig(NAMESPACE, account)


def used_rights(audit_log: Path, user: str) -> set[Right]:
    """What a user did, from the API server's audit log (written with ``audit=True``).

    A server-side apply that makes an object needs both rights, to patch and to create.
    """
    used = set()
    for line in audit_log.read_text().splitlines():
        entry = json.loads(line)
        target = entry.get("objectRef", {})
        if entry["user"]["username"] != user or "resource" not in target:
            continue
        resource = "/".join(filter(None, (target["resource"], target.get("subresource"))))
        used.add(Right(target.get("apiGroup", ""), resource, entry["verb"]))
        if entry["verb"] == "patch" and entry["responseStatus"]["code"] == HTTPStatus.CREATED:
            used.add(Right(target.get("apiGroup", ""), resource, "create"))
    return used


def namespace(name: str, **labels: str) -> dict[str, Any]:
    """A Namespace."""
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def _as_rule(right: Right) -> dict[str, list[str]]:
    return {"apiGroups": [right.group], "resources": [right.resource], "verbs": [right.verb]}


def _is_aggregated(role: Mapping[str, Any]) -> bool:
    return any("aggregate-to" in label for label in role["metadata"]["labels"])
