"""One control plane for all cluster tests of a session."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import binaries
import control_plane as planes
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
