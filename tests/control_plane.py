"""A real etcd and kube-apiserver on free loopback ports, for as long as a test session.

Controller manager and scheduler are added where a test needs them. The binaries are found by
``find_tool``; ``tests/cluster/controlplane/build`` makes the ones that are not there.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from admin_client import AdminClient, ControlPlaneError
from binaries import free_port, need_tool

START_SECONDS = 90.0
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata"}],
}


@dataclass
class ControlPlane(AdminClient):
    """Start it with ``with``; everything it writes is below ``folder``."""

    audit: bool = False
    """Write ``audit.log``, one JSON object a request."""
    controllers: bool = False
    """Run kube-controller-manager, too (garbage collection, node life cycle, service accounts)."""
    scheduler: bool = False
    _processes: list[subprocess.Popen[bytes]] = field(default_factory=list, init=False, repr=False)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def audit_log(self) -> Path:
        return self.folder / "audit.log"

    def start(self) -> None:
        """Returns when the API server is ready."""
        self.folder.mkdir(parents=True, exist_ok=True)
        etcd = f"http://127.0.0.1:{free_port()}"
        self._run("etcd", *self._etcd_flags(etcd))
        self._run("kube-apiserver", *self._server_flags(etcd))
        self._wait_ready()
        common = (f"--kubeconfig={self.kubeconfig()}", "--leader-elect=false", "--secure-port=0")
        if self.controllers:
            keys = f"--service-account-private-key-file={self.folder / 'service-accounts.key'}"
            root = f"--root-ca-file={self.authority.bundle}"
            self._run("kube-controller-manager", *common, keys, root)
        if self.scheduler:
            self._run("kube-scheduler", *common)

    def stop(self) -> None:
        """Last started, first stopped."""
        for process in reversed(self._processes):
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()

    def _etcd_flags(self, url: str) -> Iterator[str]:
        peer = f"http://127.0.0.1:{free_port()}"
        yield f"--data-dir={self.folder / 'etcd'}"
        yield f"--listen-client-urls={url}"
        yield f"--advertise-client-urls={url}"
        yield f"--listen-peer-urls={peer}"
        yield f"--initial-advertise-peer-urls={peer}"
        yield f"--initial-cluster=default={peer}"
        yield "--unsafe-no-fsync"

    def _server_flags(self, etcd: str) -> Iterator[str]:
        serving = self.authority.issue("kube-apiserver")
        accounts = self.authority.service_account_keys()
        yield f"--etcd-servers={etcd}"
        yield "--bind-address=127.0.0.1"
        yield f"--secure-port={self.server.rpartition(':')[2]}"
        yield "--endpoint-reconciler-type=none"
        yield "--service-cluster-ip-range=10.96.0.0/16"
        yield "--authorization-mode=RBAC"
        yield "--allow-privileged=true"
        yield f"--client-ca-file={self.authority.bundle}"
        yield f"--tls-cert-file={serving.certificate}"
        yield f"--tls-private-key-file={serving.key}"
        yield f"--service-account-issuer={self.server}"
        yield f"--service-account-key-file={accounts.certificate}"
        yield f"--service-account-signing-key-file={accounts.key}"
        if not self.controllers:
            # Nobody would create the namespaces' default accounts, which every pod then needs.
            yield "--disable-admission-plugins=ServiceAccount"
        if self.audit:
            policy = self.folder / "audit-policy.json"
            policy.write_text(json.dumps(AUDIT_POLICY))
            yield f"--audit-policy-file={policy}"
            yield f"--audit-log-path={self.audit_log}"

    def _run(self, name: str, *flags: str) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            command = [str(need_tool(name)), *flags]
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
        self._processes.append(process)

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if any(process.poll() is not None for process in self._processes):
                break
            try:
                if self.request("GET", "/readyz").code == 200:
                    return
            except OSError:
                pass
            time.sleep(0.1)
        logs = "\n".join(path.read_text()[-2000:] for path in self.folder.glob("*.log"))
        raise ControlPlaneError(f"the API server did not become ready:\n{logs}")


@contextmanager
def running(folder: Path, **options: bool) -> Iterator[ControlPlane]:
    """A started control plane, or a skip where its binaries are not to be had."""
    for name in ("etcd", "kube-apiserver", "kubectl"):
        need_tool(name)
    with ControlPlane(folder, **options) as plane:
        yield plane
