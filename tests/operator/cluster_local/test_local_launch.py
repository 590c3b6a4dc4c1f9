"""What a kubelet would resolve, resolved for a subprocess."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from haversack_operator.cluster.local_launch import (
    Data,
    Launch,
    Place,
    PodError,
    decoded,
    prepare,
    threads,
)

HOME = Place(Path("/pods/a"), "127.1.2.3", {"job-hub.team.svc": "127.9.9.9"})


@dataclass
class FakeObjects:
    config_maps: dict[str, Data] = field(default_factory=dict)
    secrets: dict[str, Data] = field(default_factory=dict)

    def config_map(self, name: str) -> Data | None:
        return self.config_maps.get(name)

    def secret(self, name: str) -> Data | None:
        return self.secrets.get(name)


def a_pod(container: Mapping[str, Any], volumes: list[dict[str, Any]] | None = None) -> Any:
    return {
        "metadata": {"name": "p", "namespace": "team", "labels": {"haversack.dev/peer": "3"}},
        "spec": {
            "nodeName": "orin-1",
            "containers": [{"name": "trainer", "command": ["run"], **container}],
            "volumes": volumes or [],
        },
    }


def launched(
    container: Mapping[str, Any],
    volumes: list[dict[str, Any]] | None = None,
    objects: FakeObjects | None = None,
) -> Launch:
    return prepare(a_pod(container, volumes), HOME, objects or FakeObjects())


@pytest.mark.parametrize(
    ("variable", "expected"),
    [
        ({"value": "plain"}, "plain"),
        ({"valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}, "127.1.2.3"),
        ({"valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}, "orin-1"),
        ({"valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}}, "team"),
        (
            {"valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['haversack.dev/peer']"}}},
            "3",
        ),
        ({"value": "$(FIRST):8443"}, "1:8443"),
        ({"value": "$$(FIRST) $(NOBODY)"}, "$(FIRST) $(NOBODY)"),
        ({"value": "https://job-hub.team.svc:8443/v1"}, "https://127.9.9.9:8443/v1"),
        ({"value": "job-hub.team.svc"}, "job-hub.team.svc"),
        ({"value": "https://my-job-hub.team.svc:8443"}, "https://my-job-hub.team.svc:8443"),
        ({"value": "/etc/job/job.json"}, "/pods/a/volumes/v/job.json"),
        ({"value": "/etc/jobs"}, "/etc/jobs"),
        ({"valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}, "hush"),
    ],
)
def test_variables(variable: dict[str, Any], expected: str) -> None:
    container = {
        "env": [{"name": "FIRST", "value": "1"}, {"name": "X", **variable}],
        "volumeMounts": [{"name": "v", "mountPath": "/etc/job"}],
    }
    objects = FakeObjects(secrets={"s": {"k": b"hush"}})
    assert launched(container, [{"name": "v", "emptyDir": {}}], objects).env["X"] == expected


def test_volumes_become_files_below_the_pods_folder() -> None:
    container = {
        "args": ["--tls", "/tls"],
        "volumeMounts": [
            {"name": "job", "mountPath": "/job"},
            {"name": "tls", "mountPath": "/tls"},
            {"name": "scratch", "mountPath": "/scratch"},
        ],
    }
    volumes: list[dict[str, Any]] = [
        {"name": "job", "configMap": {"name": "job"}},
        {
            "name": "tls",
            "secret": {"secretName": "tls", "items": [{"key": "peer-0.key", "path": "tls.key"}]},
        },
        {"name": "scratch", "emptyDir": {"sizeLimit": "1Gi"}},
    ]
    secret = {"peer-0.key": b"mine", "ca.key": b"never"}
    launch = launched(
        container, volumes, FakeObjects({"job": {"job.json": b"{}"}}, {"tls": secret})
    )
    root = Path("/pods/a/volumes")
    assert launch.files == {root / "job/job.json": b"{}", root / "tls/tls.key": b"mine"}
    assert launch.argv == ("run", "--tls", "/pods/a/volumes/tls")
    assert root / "scratch" in launch.folders


@pytest.mark.parametrize(
    ("container", "volumes", "missing"),
    [
        ({"envFrom": [{"secretRef": {"name": "s3"}}]}, [], "Secret s3 is not there"),
        (
            {"env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]},
            [],
            "s has no key k",
        ),
        (
            {"volumeMounts": [{"name": "v", "mountPath": "/v"}]},
            [{"name": "v", "secret": {"secretName": "tls"}}],
            "Secret tls is not there",
        ),
        (
            {"volumeMounts": [{"name": "v", "mountPath": "/v"}]},
            [{"name": "v", "hostPath": {"path": "/"}}],
            "only configMap, secret and emptyDir",
        ),
    ],
)
def test_what_is_missing_is_named(
    container: dict[str, Any], volumes: list[dict[str, Any]], missing: str
) -> None:
    with pytest.raises(PodError, match=missing):
        launched(container, volumes)


def test_optional_sources_may_be_absent() -> None:
    source = {"secretRef": {"name": "s3", "optional": True}}
    assert launched({"envFrom": [source]}).env == {}


@pytest.mark.parametrize(("cpu", "expected"), [("250m", 1), ("1500m", 2), ("64", 4), (1, 1)])
def test_threads_follow_the_request_but_never_exceed_the_machine(cpu: Any, expected: int) -> None:
    assert threads(a_pod({"resources": {"requests": {"cpu": cpu}}}), available=4) == expected


def test_secret_data_is_base64_and_config_map_data_is_not() -> None:
    assert decoded({"kind": "Secret", "data": {"a": "aHVzaA=="}}) == {"a": b"hush"}
    assert decoded({"kind": "Secret", "stringData": {"a": "hush"}}) == {"a": b"hush"}
    assert decoded({"kind": "ConfigMap", "data": {"a": "hush"}}) == {"a": b"hush"}
