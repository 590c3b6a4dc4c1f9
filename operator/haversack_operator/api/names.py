"""Group, labels, annotations, condition types and reasons."""

from __future__ import annotations

from typing import Final

GROUP: Final = "haversack.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
JOB_KIND: Final = "FineTuneJob"
JOB_PLURAL: Final = "finetunejobs"
PLAN_KIND: Final = "FineTunePlan"
PLAN_PLURAL: Final = "finetuneplans"

MANAGER: Final = "haversack-operator"
"""Field manager of every server-side apply."""

LABEL_JOB: Final = f"{GROUP}/job"
LABEL_ROLE: Final = f"{GROUP}/role"
"""``peer`` or ``hub``."""
LABEL_POOL: Final = f"{GROUP}/pool"
LABEL_PEER: Final = f"{GROUP}/peer"
"""The peer's ordinal in the job."""
LABEL_ATTEMPT: Final = f"{GROUP}/attempt"
ANNOTATION_MICRO_BATCH: Final = f"{GROUP}/micro-batch-size"
ANNOTATION_APPROVED_BY: Final = f"{GROUP}/approved-by"
"""On the FineTuneJob, written by ``haversack approve``."""

NODE_ACCELERATOR_CLASS: Final = f"{GROUP}/accelerator-class"
NODE_ACCELERATOR_MEMORY: Final = f"{GROUP}/accelerator-memory"
"""Quantity; wins over GFD's ``nvidia.com/gpu.memory`` (MiB)."""
NODE_UNIFIED_MEMORY: Final = f"{GROUP}/unified-memory"
NODE_COST_PER_HOUR: Final = f"{GROUP}/cost-per-hour"
NODE_ZONE: Final = "topology.kubernetes.io/zone"

ROLE_PEER: Final = "peer"
ROLE_HUB: Final = "hub"


class Condition:
    """Condition types of a FineTuneJob (kubernetes.md 3.4)."""

    ACCEPTED: Final = "Accepted"
    PLACED: Final = "Placed"
    HUB_READY: Final = "HubReady"
    PEERS_READY: Final = "PeersReady"
    GATE_PASSED: Final = "GatePassed"
    SUSPENDED: Final = "Suspended"
    CHECKPOINT_FRESH: Final = "CheckpointFresh"
    READY: Final = "Ready"
    COMPLETE: Final = "Complete"
    FAILED: Final = "Failed"
    RECONCILING: Final = "Reconciling"
    STALLED: Final = "Stalled"
