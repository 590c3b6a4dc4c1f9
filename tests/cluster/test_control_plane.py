"""The control plane itself: what the tests of the chart, the CRDs and the operator lean on."""

from __future__ import annotations

import json

import pytest
from admin_client import ControlPlaneError
from control_plane import ControlPlane, running

pytestmark = pytest.mark.cluster

ACCOUNT = {
    "apiVersion": "v1",
    "kind": "ServiceAccount",
    "metadata": {"name": "robot", "namespace": "default"},
}
PRIVILEGED_POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "bad"},
    "spec": {
        "containers": [{"name": "c", "image": "i", "securityContext": {"privileged": True}}],
    },
}


def test_an_applied_object_is_there(control_plane: ControlPlane) -> None:
    manifest = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "here", "namespace": "default"},
        "data": {"key": "value"},
    }
    control_plane.apply(json.dumps(manifest))
    found = control_plane.request("GET", "/api/v1/namespaces/default/configmaps/here")
    assert found.body["data"] == {"key": "value"}


def test_a_user_and_a_service_account_have_no_rights_of_their_own(
    control_plane: ControlPlane,
) -> None:
    control_plane.apply(json.dumps(ACCOUNT))
    for kubeconfig in (
        control_plane.kubeconfig("alice", "team-a"),
        control_plane.service_account_kubeconfig("default", "robot"),
    ):
        with pytest.raises(ControlPlaneError, match="forbidden"):
            control_plane.kubectl("get", "secrets", kubeconfig=kubeconfig)


def test_pod_security_is_enforced_where_a_namespace_asks_for_it(
    control_plane: ControlPlane,
) -> None:
    namespace = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {
            "name": "guarded",
            "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
        },
    }
    control_plane.apply(json.dumps(namespace))
    refused = control_plane.request("POST", "/api/v1/namespaces/guarded/pods", PRIVILEGED_POD)
    assert refused.code == 403
    assert "violates PodSecurity" in refused.message


def test_controllers_and_audit_log_come_on_demand(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("whole-control-plane")
    with running(folder, audit=True, controllers=True, scheduler=True) as plane:
        plane.kubectl("wait", "--for=create", "--timeout=30s", "serviceaccount/default")
        requests = [json.loads(line) for line in plane.audit_log.read_text().splitlines()]
    assert any("kubectl" in request.get("userAgent", "") for request in requests)
