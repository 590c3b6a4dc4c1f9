"""The Helm chart: what it renders, a real API server takes, and nothing else can be set."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from admin_client import ControlPlaneError
from chart import (
    CHART,
    NAMESPACE,
    RELEASE,
    ChartError,
    Right,
    helm,
    namespace,
    of_kind,
    operator_kubeconfig,
    operator_rights,
    render,
)
from control_plane import ControlPlane, running

from haversack_operator.main import parse_options

pytestmark = pytest.mark.cluster

VALUES: list[dict[str, Any]] = [
    {},
    {"watch.namespaces": ["team-a", "team-b"]},
    {"crds.enabled": False, "rbac.aggregate": False, "metrics.service.enabled": False},
    {"rbac.create": False, "serviceAccount.create": False},
    {
        "fullnameOverride": "other",
        "image": {"repository": "registry.example.com:5000/operator", "tag": "2"},
        "logLevel": "DEBUG",
        "imagePullSecrets": ["pull"],
        "trainer.image": "registry.example.com/trainer:2",
        "serviceAccount": {"name": "robot", "annotations": {"a": "b"}},
        "metrics.service": {"port": 9090, "annotations": {"a": "b"}},
        "podAnnotations": {"a": "b"},
        "podLabels": {"team": "a"},
        "priorityClassName": "critical.example.com",
        "resources": {"requests": {"cpu": 0.5}, "limits": {"cpu": 2, "memory": "1.5Gi"}},
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "edge", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
    },
]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane of its own, since Helm wants to own the CRDs."""
    with running(tmp_path_factory.mktemp("chart")) as plane:
        for name in (NAMESPACE, "team-a", "team-b"):
            plane.apply(json.dumps(namespace(name)))
        yield plane


def test_lint() -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", str(CHART))


@pytest.mark.parametrize("values", VALUES, ids=lambda values: ",".join(values) or "defaults")
def test_the_api_server_takes_all_that_is_rendered(
    bare: ControlPlane, values: dict[str, Any]
) -> None:
    documents = render(values)
    told = bare.kubectl(
        "apply",
        "--server-side",
        "--dry-run=server",
        "--validate=strict",
        "-f",
        "-",
        stdin=yaml.safe_dump_all(documents),
    )
    assert len(told.splitlines()) == len(documents)


@pytest.mark.parametrize(
    "values",
    [
        {"replicas": 2},
        {"image": {"repo": "x"}},
        {"image.pullPolicy": "Sometimes"},
        {"watch.namespaces": "team-a"},
        {"watch.namespaces": ["Team A"]},
        {"crds.install": True},
        {"metrics.service.port": 0},
        {"resources.request": {}},
        {"resources.limits.memory": "lots"},
        {"resources.limits.cpu": -1},
        {"podLabels": {"a": 1}},
        {"podLabels": {"app.kubernetes.io/name": "mine"}},
        {"podLabels": {"helm.sh/chart": "mine"}},
        {"priorityClassName": "a..b"},
        {"imagePullSecrets": [""]},
        {"image.digest": "sha256:1234"},
        {"logLevel": "LOUD"},
        *({part: None} for part in ("image", "logLevel", "trainer", "watch", "rbac")),
        *({part: None} for part in ("serviceAccount", "metrics", "metrics.service", "resources")),
    ],
    ids=str,
)
def test_a_value_that_cannot_be_honoured_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ChartError, match="values don't meet the specifications of the schema"):
        render(values)


def test_a_digest_wins_over_the_tag() -> None:
    digest = f"sha256:{'0a' * 32}"
    pod = of_kind(render({"image.digest": digest, "image.tag": "2"}), "Deployment")["spec"]
    image = pod["template"]["spec"]["containers"][0]["image"]
    assert image == f"ghcr.io/haversack/operator@{digest}"


def test_two_releases_of_one_name_share_nothing() -> None:
    values = {"watch.namespaces": ["team-a"], "crds.enabled": False}
    ours, theirs = (
        {_identity(document) for document in render(values, where=where)}
        for where in (NAMESPACE, "other-system")
    )
    assert not ours & theirs


def _identity(document: dict[str, Any]) -> tuple[str, ...]:
    meta = document["metadata"]
    return document["kind"], meta.get("namespace", ""), meta["name"]


def test_crds_are_upgraded_and_stay(bare: ControlPlane, tmp_path: Path) -> None:
    where = ("--namespace", NAMESPACE)
    helm("install", RELEASE, str(CHART), *where, kubeconfig=bare.kubeconfig())
    assert _short_names(bare) == ["ftj"]
    newer = Path(shutil.copytree(CHART, tmp_path / "chart"))
    definition = newer / "charts/crds/templates/finetunejobs.haversack.dev.yaml"
    definition.write_text(definition.read_text().replace("- ftj", "- ftj\n    - tune"))
    helm("upgrade", RELEASE, str(newer), *where, kubeconfig=bare.kubeconfig())
    assert _short_names(bare) == ["ftj", "tune"]
    helm("uninstall", RELEASE, *where, kubeconfig=bare.kubeconfig())
    assert _short_names(bare) == ["ftj", "tune"]
    with pytest.raises(ControlPlaneError, match="not found"):
        bare.kubectl("get", "deployment", RELEASE, *where)


def _short_names(plane: ControlPlane) -> list[str]:
    told = plane.kubectl("get", "crd", "finetunejobs.haversack.dev", "-o", "json")
    names: list[str] = json.loads(told)["spec"]["names"]["shortNames"]
    return names


def test_the_operator_understands_its_arguments() -> None:
    values = {"watch.namespaces": ["team-a", "team-b"], "trainer.image": "trainer:2"}
    options = parse_options(_arguments(values))
    assert options.namespaces == ("team-a", "team-b")
    assert options.trainer_image == "trainer:2"
    assert options.metrics_port == 8080
    assert options.log_level == "INFO"
    assert parse_options(_arguments({})).namespaces == ()


def _arguments(values: dict[str, Any]) -> list[str]:
    pod = of_kind(render(values), "Deployment")["spec"]["template"]["spec"]
    arguments: list[str] = pod["containers"][0]["args"]
    return arguments


@pytest.mark.parametrize("kind", ["Deployment", "Pod"])
def test_pods_of_the_chart_pass_restricted(bare: ControlPlane, kind: str) -> None:
    bare.apply(
        json.dumps(namespace("guarded", **{"pod-security.kubernetes.io/enforce": "restricted"}))
    )
    document = of_kind(render(), kind)
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "one"},
        "spec": document["spec"]["template"]["spec"] if kind == "Deployment" else document["spec"],
    }
    answer = bare.request("POST", "/api/v1/namespaces/guarded/pods?dryRun=All", pod)
    assert answer.code == 201, answer.message


def test_no_right_is_a_wildcard_and_both_modes_grant_the_same() -> None:
    everywhere = operator_rights(render())
    assert everywhere == operator_rights(render({"watch.namespaces": ["team-a"]}))
    assert not [right for right in everywhere if "*" in right]


def test_the_operator_may_do_what_the_chart_grants_and_no_more(bare: ControlPlane) -> None:
    kubeconfig = operator_kubeconfig(bare, "team-a")
    assert _may(bare, kubeconfig, "create", "pods", "team-a")
    assert _may(bare, kubeconfig, "list", "nodes")
    for verb, resource, where in (
        ("create", "pods", "team-b"),
        ("list", "secrets", "team-a"),
        ("delete", "secrets", "team-a"),
        ("update", "finetunejobs.haversack.dev", "team-a"),
        ("deletecollection", "pods", "team-a"),
        ("patch", "nodes", "team-a"),
    ):
        assert not _may(bare, kubeconfig, verb, resource, where)


def test_one_right_can_be_taken_away(bare: ControlPlane) -> None:
    kubeconfig = operator_kubeconfig(bare, "team-b", without=Right("", "pods", "create"))
    assert not _may(bare, kubeconfig, "create", "pods", "team-b")
    assert _may(bare, kubeconfig, "delete", "pods", "team-b")


def _may(
    plane: ControlPlane, kubeconfig: Path, verb: str, resource: str, where: str = "default"
) -> bool:
    try:
        plane.kubectl("auth", "can-i", verb, resource, "--namespace", where, kubeconfig=kubeconfig)
    except ControlPlaneError:
        return False
    return True


def test_people_with_the_edit_role_may_write_jobs() -> None:
    granted = [d for d in render() if "aggregate-to-edit" in json.dumps(d["metadata"])]
    (role,) = granted
    assert role["rules"] == [
        {
            "apiGroups": ["haversack.dev"],
            "resources": ["finetunejobs"],
            "verbs": ["create", "update", "patch", "delete", "deletecollection"],
        }
    ]
