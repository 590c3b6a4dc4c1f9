"""What a test does to an API server as its administrator, and the identities it hands out."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property, partial
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

from binaries import free_port, need_tool
from loopback_pki import Authority, KeyPair
from waiting import wait_for


class ControlPlaneError(Exception):
    """The API server, or kubectl, said no."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API server said."""

    code: int
    body: dict[str, Any]

    @property
    def message(self) -> str:
        """The error's sentence; empty when there is none."""
        return str(self.body.get("message", ""))


@dataclass
class AdminClient:
    """An API server on the loopback address whose authority is ours."""

    folder: Path
    """Keys, kubeconfigs and logs are kept here."""

    @cached_property
    def authority(self) -> Authority:
        return Authority(self.folder)

    @cached_property
    def admin(self) -> KeyPair:
        return self.authority.issue("admin", "system:masters")

    @cached_property
    def server(self) -> str:
        return f"https://127.0.0.1:{free_port()}"

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        content_type: str = "application/json",
    ) -> Answer:
        """One request as admin. Much quicker than kubectl, for tables of cases."""
        host = self.server.removeprefix("https://")
        headers = {"Content-Type": content_type, "Accept": "application/json"}
        with closing(HTTPSConnection(host, context=self._tls, timeout=30)) as connection:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
        parsed = json.loads(text) if text.startswith(b"{") else {"message": text.decode()}
        return Answer(answer.status, parsed)

    def kubectl(self, *args: str, stdin: str | None = None, kubeconfig: Path | None = None) -> str:
        """Standard output; a failure raises ``ControlPlaneError`` with kubectl's own words."""
        config = kubeconfig or self.kubeconfig()
        command = [str(need_tool("kubectl")), f"--kubeconfig={config}", *args]
        environment = {**os.environ, "KUBECACHEDIR": str(self.folder / "kubectl")}
        done = subprocess.run(
            command, input=stdin, capture_output=True, text=True, env=environment, check=False
        )
        if done.returncode != 0:
            raise ControlPlaneError(f"kubectl {' '.join(args)}: {done.stderr.strip()}")
        return done.stdout

    def apply(self, manifests: str) -> str:
        """Server-side apply of YAML documents; new resource types are usable afterwards."""
        told = self.kubectl("apply", "--server-side", "-f", "-", stdin=manifests)
        for line in told.splitlines():
            if line.startswith("customresourcedefinition"):
                wait_for(partial(self._established, line.split()[0].partition("/")[2]))
        return told

    def kubeconfig(self, user: str = "admin", *groups: str) -> Path:
        """A kubeconfig that authenticates as this user by certificate."""
        pair = self.admin if user == "admin" else self.authority.issue(user, *groups)
        credentials = {"client-certificate": str(pair.certificate), "client-key": str(pair.key)}
        return self._write_kubeconfig(user, credentials)

    def service_account_kubeconfig(self, namespace: str, name: str) -> Path:
        """A kubeconfig with a fresh token of an existing ServiceAccount."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token"
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        answer = self.request("POST", path, request)
        if answer.code >= 300:
            raise ControlPlaneError(f"no token for {namespace}/{name}: {answer.message}")
        token = answer.body["status"]["token"]
        return self._write_kubeconfig(f"{namespace}-{name}", {"token": token})

    def _established(self, definition: str) -> bool:
        """Asked here, because ``kubectl wait`` fails on a status that has no conditions yet."""
        path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{definition}"
        conditions = self.request("GET", path).body.get("status", {}).get("conditions") or ()
        return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.authority.bundle))
        context.load_cert_chain(self.admin.certificate, self.admin.key)
        return context

    def _write_kubeconfig(self, user: str, credentials: Mapping[str, str]) -> Path:
        cluster = {"server": self.server, "certificate-authority": str(self.authority.bundle)}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "tests", "cluster": cluster}],
            "users": [{"name": user, "user": credentials}],
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": user}}],
            "current-context": "tests",
        }
        path = self.folder / f"{user.replace(':', '-')}.kubeconfig"
        path.write_text(json.dumps(config))
        return path
