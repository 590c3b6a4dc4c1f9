"""Events for people, as events.k8s.io has them."""

from __future__ import annotations

import socket
from datetime import UTC, datetime
from typing import Any, Final

from haversack_operator.api import names
from haversack_operator.snapshot import Invalid, Job

from .base import Event, Key

MAX_NOTE: Final = 1024


def event_from(event: Event, job: Job | Invalid, key: Key) -> dict[str, Any]:
    """An Event about the job."""
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"generateName": f"{key.name}-", "namespace": key.namespace},
        "eventTime": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "type": event.type,
        "reason": event.reason,
        "action": "Reconcile",
        "note": event.message[:MAX_NOTE],
        "reportingController": names.MANAGER,
        "reportingInstance": socket.gethostname()[:128],
        "regarding": {
            "apiVersion": names.API_VERSION,
            "kind": names.JOB_KIND,
            "name": key.name,
            "namespace": key.namespace,
            "uid": job.uid,
        },
    }
