"""Certificates for hub tests: the operator's own, laid out as a pod mounts them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from haversack_operator.cluster.certificates import complete

HUB_NAME = "job-hub.ns.svc"


@dataclass
class Authority:
    """One job's CA. ``folder(name)`` gives what the pod of that name mounts."""

    root: Path
    run: str = "ns.job.12345678"
    clock: timedelta = timedelta()
    """How far the clock of whoever issues certificates is ahead."""
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
            _lay_out(folder, pair, name)
        return folder

    def renew(self, *names: str) -> None:
        """New pairs in place of those in the folders, as kubelet brings them."""
        self._secret = self._complete(self._secret, [*names], self.run)
        for name in names:
            _lay_out(self.folder(name), self._secret, name)

    def _complete(self, secret: dict[str, bytes], names: list[str], run: str) -> dict[str, bytes]:
        return complete(
            secret, names, run=run, hub_name=HUB_NAME, now=datetime.now(UTC) + self.clock
        )


def _lay_out(folder: Path, secret: dict[str, bytes], name: str) -> None:
    (folder / "ca.crt").write_bytes(secret["ca.crt"])
    (folder / "tls.crt").write_bytes(secret[f"{name}.crt"])
    (folder / "tls.key").write_bytes(secret[f"{name}.key"])
