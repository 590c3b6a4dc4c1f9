"""A FineTuneJob and its plan, from the API's JSON to the snapshot's values."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from haversack_operator.api import names
from haversack_operator.api.choice import resolved
from haversack_operator.api.faults import InvalidSpec
from haversack_operator.api.parse import parse_spec
from haversack_operator.api.plan import PlanSpec
from haversack_operator.snapshot import Assignment, Invalid, Job, PlanView

from .kube_objects import parse_time


def job_from(body: Mapping[str, Any]) -> Job | Invalid:
    """A job; one that the CRD let pass but that makes no sense is a value, too."""
    meta, status = body["metadata"], body.get("status", {})
    try:
        spec, reason = resolved(parse_spec(body), status)
    except InvalidSpec as error:
        return Invalid(
            meta["name"], meta["namespace"], meta["uid"], meta["generation"], str(error), status
        )
    return Job(
        name=meta["name"],
        namespace=meta["namespace"],
        uid=meta["uid"],
        generation=meta["generation"],
        spec=spec,
        created=parse_time(meta.get("creationTimestamp")) or datetime.now(UTC),
        deleting="deletionTimestamp" in meta,
        approved_by=meta.get("annotations", {}).get(names.ANNOTATION_APPROVED_BY) or None,
        status=status,
        method_reason=reason,
    )


def plan_from(body: Mapping[str, Any]) -> PlanView | None:
    """A plan; None when a person made it unreadable, so that a new one is written."""
    try:
        spec = PlanSpec.model_validate(body["spec"])
    except ValidationError:
        return None
    return PlanView(
        name=body["metadata"]["name"],
        revision=spec.revision,
        assignments=tuple(
            Assignment(row.peer, row.pool, row.node, row.micro_batch_size) for row in spec.peers
        ),
        gap_percent=spec.gap_percent,
        reasons=tuple(spec.reasons),
        avoided=frozenset(spec.avoided_nodes),
    )
