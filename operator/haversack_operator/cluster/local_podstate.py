"""What a kubelet would report about a pod."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Ended:
    """How a container's process ended."""

    exit_code: int
    message: str
    started: str
    finished: str

    def terminated(self) -> dict[str, Any]:
        """A container's state as in core/v1."""
        return {
            "terminated": {
                "exitCode": self.exit_code,
                "reason": "Error" if self.exit_code else "Completed",
                "message": self.message,
                "startedAt": self.started,
                "finishedAt": self.finished,
            }
        }


@dataclass(frozen=True, slots=True)
class PodState:
    """What a kubelet would report."""

    phase: str = "Pending"
    ip: str = ""
    pid: int | None = None
    ready: bool = False
    restarts: int = 0
    started: str | None = None
    waiting: tuple[str, str] | None = ("ContainerCreating", "")
    """Reason and message."""
    ended: Ended | None = None
    """The newest end, whether restarted since or not."""

    def status(self, container: str) -> dict[str, Any]:
        """The pod's ``status`` as in core/v1."""
        ready = "True" if self.ready else "False"
        return {
            "phase": self.phase,
            "podIP": self.ip,
            "podIPs": [{"ip": self.ip}],
            "conditions": [
                {"type": kind, "status": ready} for kind in ("Ready", "ContainersReady")
            ],
            "containerStatuses": [self._container(container)],
        }

    def _container(self, name: str) -> dict[str, Any]:
        ended = self.ended.terminated() if self.ended else {}
        if self.pid is not None:
            state: dict[str, Any] = {"running": {"startedAt": self.started}}
        elif self.waiting is not None:
            state = {"waiting": {"reason": self.waiting[0], "message": self.waiting[1]}}
        else:
            state = ended
        return {
            "name": name,
            "image": "",
            "imageID": "",
            "ready": self.ready,
            "started": self.pid is not None,
            "restartCount": self.restarts,
            "state": state,
            "lastState": {} if state is ended else ended,
        }
