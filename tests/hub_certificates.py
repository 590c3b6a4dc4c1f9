"""Certificates for hub tests: the operator's own, laid out as a pod mounts them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from haversack_operator.cluster.certificates import complete

HUB_NAME = "job-hub.ns.svc"


@dataclass
class Authority:
    """One job's CA. ``folder(name)`` gives what the pod of that name mounts."""

    root: Path
    run: str = "ns.job.12345678"
    _secret: dict[str, bytes] = field(default_factory=dict)

    def folder(self, name: str, organization: str | None = None) -> Path:
        """``ca.crt``, ``tls.crt`` and ``tls.key`` for ``hub``, ``operator`` or ``peer-<n>``."""
        run = organization or self.run
        folder = self.root / f"{name}-{run}"
        if not folder.exists():
            folder.mkdir(parents=True)
            if not self._secret:
                self._secret = self._complete({}, [], self.run)
            pair = self._complete(self._secret, [name], run)
            (folder / "ca.crt").write_bytes(pair["ca.crt"])
            (folder / "tls.crt").write_bytes(pair[f"{name}.crt"])
            (folder / "tls.key").write_bytes(pair[f"{name}.key"])
        return folder

    def _complete(self, secret: dict[str, bytes], names: list[str], run: str) -> dict[str, bytes]:
        return complete(secret, names, run=run, hub_name=HUB_NAME, now=datetime.now(UTC))
