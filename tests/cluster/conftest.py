"""One control plane for all cluster tests of a session."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import binaries
import chart
import control_plane as planes
import operator_process
import operator_world
import pytest


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[planes.ControlPlane]:
    """Only etcd and kube-apiserver."""
    with planes.running(tmp_path_factory.mktemp("control-plane")) as plane:
        yield plane


@pytest.fixture(scope="session")
def crds(control_plane: planes.ControlPlane) -> planes.ControlPlane:
    """The control plane with Haversack's CRDs, as committed."""
    folder = Path(__file__).parents[2] / "crds"
    for path in sorted(folder.glob("*.yaml")):
        control_plane.apply(path.read_text())
    return control_plane


def pytest_unconfigure() -> None:
    """After pytest's own summary, so that it is the last line."""
    for reason in dict.fromkeys(binaries.skipped):
        sys.stdout.write(f"SKIPPED TESTS: {reason}\n")


@pytest.fixture(scope="session")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[planes.ControlPlane]:
    """A control plane of its own for the operator, with CRDs and an audit log."""
    with planes.running(tmp_path_factory.mktemp("watched"), audit=True) as plane:
        for path in sorted((Path(__file__).parents[2] / "crds").glob("*.yaml")):
            plane.apply(path.read_text())
        yield plane


@pytest.fixture(scope="session")
def operator(watched: planes.ControlPlane) -> Iterator[operator_process.OperatorProcess]:
    """One operator for all namespaces, with the rights that the chart grants."""
    log = watched.folder / "operator.log"
    with operator_process.operating(chart.operator_kubeconfig(watched), log) as process:
        yield process


@pytest.fixture
def world(
    watched: planes.ControlPlane,
    operator: operator_process.OperatorProcess,
    request: pytest.FixtureRequest,
) -> operator_world.World:
    """A namespace that enforces Pod Security ``restricted``, with two nodes."""
    name = re.sub("[^a-z0-9]+", "-", request.node.name.removeprefix("test_"))[:36].strip("-")
    made = operator_world.World(watched, name)
    made.start(**operator_world.RESTRICTED)
    for number in range(2):
        made.add_node(number)
    return made
