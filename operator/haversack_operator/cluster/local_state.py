"""What is kept of a local job between two ``haversack run``: the job itself, its status, its plans.

Everything else is made anew: a run continues from the newest checkpoint in its store.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, Field

from haversack_operator.api import names
from haversack_operator.api.faults import InvalidSpec
from haversack_operator.api.parse import parse_spec
from haversack_operator.api.status import JobStatus

from .base import Manifest

IMMUTABLE: Final = ("model", "dataset", "adapter", "method", "training", "storage")


class StateError(Exception):
    """The state folder does not fit the job; says what to change."""


@dataclass(frozen=True, slots=True)
class Saved:
    """What was kept."""

    job: dict[str, Any]
    plans: tuple[dict[str, Any], ...] = ()


class _Metadata(BaseModel):
    name: str
    namespace: str
    uid: str
    generation: int
    creation_timestamp: datetime = Field(alias="creationTimestamp")


class _Job(BaseModel):
    metadata: _Metadata
    status: JobStatus


class _Named(BaseModel):
    name: str


class _Plan(BaseModel):
    kind: str
    metadata: _Named


class _Kept(BaseModel):
    """What must be there of what was kept."""

    job: _Job
    plans: list[_Plan]


class StateFile:
    """``state.json`` in the job's own folder."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "state.json"

    def read(self) -> Saved | None:
        """What was kept, or None. Raises ``StateError`` when the file is damaged."""
        try:
            text = self.path.read_text()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise StateError(f"{self.path} cannot be read: {error}") from error
        try:
            found = json.loads(text)
            _Kept.model_validate(found)
            parse_spec(found["job"])
        except (ValueError, RecursionError, InvalidSpec) as error:
            raise StateError(f"{self.path} is damaged; delete it to start the job anew") from error
        return Saved(found["job"], tuple(found["plans"]))

    def write(self, job: Manifest, plans: Iterable[Manifest]) -> None:
        """Replace what was kept, whole or not at all."""
        text = json.dumps({"job": job, "plans": list(plans)})
        if self.path.exists() and self.path.read_text() == text:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.path.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(self.path)

    def approve(self, who: str) -> None:
        """Leave word for the running job. Raises ``StateError`` if there is none."""
        saved = self.read()
        if saved is None:
            raise StateError(f"there is no job in {self.path.parent}")
        self._approval(saved).write_text(who)

    def approval(self) -> str | None:
        """Who approved this very job, if anybody did."""
        saved = self.read()
        path = saved and self._approval(saved)
        return path.read_text().strip() if path and path.exists() else None

    def _approval(self, saved: Saved) -> Path:
        return self.path.with_name(f"approved-{saved.job['metadata']['uid']}")


def admit(job: Manifest, saved: Saved | None, now: datetime) -> Saved:
    """The job as it goes on from what was kept; a new one if nothing was, or if that is finished.

    Raises ``StateError`` if a field that may not change has changed.
    """
    body = {**job, "metadata": {"namespace": "default", **job["metadata"]}}
    if saved is None or finished(saved.job):
        made = {"uid": str(uuid.uuid4()), "generation": 1}
        made["creationTimestamp"] = now.astimezone(UTC).isoformat()
        return Saved({**body, "metadata": {**body["metadata"], **made}, "status": {}})
    before = saved.job["metadata"]
    for field in IMMUTABLE:
        if body["spec"].get(field) != saved.job["spec"].get(field):
            raise StateError(
                f"spec.{field} is not what the unfinished run of {before['name']} was started with; "
                "put it back to resume, or give the job another name"
            )
    wanted, had = _peers(body), _peers(saved.job)
    if wanted != had:
        raise StateError(
            f"spec.pools: the peers.replicas add up to {wanted}, but the unfinished run of "
            f"{before['name']} was started with {had}, into which its data is split; "
            "put them back to resume, or give the job another name"
        )
    kept = {name: before[name] for name in ("uid", "creationTimestamp")}
    metadata = {**body["metadata"], **kept, "generation": before["generation"] + 1}
    return Saved({**body, "metadata": metadata, "status": saved.job["status"]}, saved.plans)


def _peers(job: Manifest) -> int:
    """The sum of the pools' replicas, which is immutable."""
    return sum(pool.get("peers", {}).get("replicas", 1) for pool in job["spec"].get("pools", ()))


def finished(job: Mapping[str, Any]) -> bool:
    """Complete or failed, for good."""
    return is_true(job, names.Condition.COMPLETE) or is_true(job, names.Condition.FAILED)


def is_true(job: Mapping[str, Any], condition: str) -> bool:
    """Whether a condition of the job's status is True."""
    return any(
        entry["type"] == condition and entry["status"] == "True"
        for entry in job.get("status", {}).get("conditions", ())
    )
