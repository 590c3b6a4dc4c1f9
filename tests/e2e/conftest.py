"""A cluster whose pods really run: control plane, operator with the chart's rights, nodes, S3."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import chart
import control_plane as planes
import node_agent
import operator_process
import pytest
import s3server
from e2e_world import NODES, E2eWorld

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[planes.ControlPlane]:
    """With garbage collection, node life cycle and the real scheduler."""
    folder = tmp_path_factory.mktemp("plane")
    with planes.running(folder, controllers=True, scheduler=True) as running:
        for path in sorted((ROOT / "crds").glob("*.yaml")):
            running.apply(path.read_text())
        yield running


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[s3server.S3Server]:
    """Real signatures and conditional writes where versitygw is to be had."""
    with s3server.s3_server(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="session")
def world(
    plane: planes.ControlPlane,
    store: s3server.S3Server,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[E2eWorld]:
    """Everything started, model and data uploaded."""
    log = plane.folder / "operator.log"
    pods = tmp_path_factory.mktemp("pods")
    with (
        node_agent.agent(plane, pods, *NODES) as agent,
        operator_process.operating(chart.operator_kubeconfig(plane), log),
    ):
        yield E2eWorld(plane, store, agent)
