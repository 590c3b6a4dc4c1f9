"""``FineTuneJob``: the models that the CRD is generated from and that ``parse`` reads."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import Field

from haversack_trainer.contract.adapter import AdapterSpec
from haversack_trainer.contract.base import SUBDOMAIN, VISIBLE, Frozen, Name, ObjectName
from haversack_trainer.contract.environment import MAX_PROCESSES
from haversack_trainer.contract.network import NetworkSpec
from haversack_trainer.contract.spec import (
    CheckpointSpec,
    DatasetSpec,
    EvaluationSpec,
    ModelSpec,
    StorageSpec,
)
from haversack_trainer.contract.training import TrainingSpec

Quantity = Annotated[str, Field(max_length=20)]
"""``rules`` says what one may be: a rule has a message, a pattern shows itself. A text, as int-or-string's
``maxLength`` does not count in a rule's cost before Kubernetes 1.34, and the rules would cost too much."""
LabelValue = Annotated[
    str, Field(pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$", max_length=63)
]
LABEL_KEY_PATTERN: Final = (
    r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
)
MAX_LABEL_KEY_LENGTH: Final = 317
"""253 of the optional prefix, a slash, 63 of the name."""
Image = Annotated[str, Field(pattern=f"^{VISIBLE}+$", min_length=1, max_length=512)]

MAX_PEERS: Final = 256
NAME_PATTERN: Final = "^[a-z](-?[a-z0-9])*$"
NAME_WORDS: Final = "letters a-z, digits and single '-', a letter first"
MAX_NAME_LENGTH: Final = 40
"""Of a job: names of its pods, its Service and their labels are built from it."""


class Architecture(StrEnum):
    AMD64 = "amd64"
    ARM64 = "arm64"


class Accelerator(Frozen):
    """What each peer of the pool asks of its node's accelerators."""

    resource_name: str = Field(
        default="nvidia.com/gpu",
        pattern=rf"^{SUBDOMAIN}/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$",
        max_length=128,
        description="Extended resource of the device plug-in.",
    )
    count: int = Field(default=1, ge=1, le=16, description="Devices per peer.")
    memory: Quantity | None = Field(
        default=None,
        description="Memory that one device must have. On unified memory (Jetson) it counts "
        "against the node's own memory, too.",
    )


class Resources(Frozen):
    """Requests of a peer; memory is its limit, too."""

    cpu: Quantity = Field(
        default="1", description="CPU request: 1m to 100000, like 2, 0.5 or 500m."
    )
    memory: Quantity = Field(
        default="2Gi", description="Memory request and limit: 1Mi to 1Pi, like 8Gi."
    )


class PeerCount(Frozen):
    replicas: int = Field(default=1, ge=0, le=MAX_PEERS, description="Peers wanted in this pool.")
    min: int = Field(
        default=0, ge=0, le=MAX_PEERS, description="Fewest peers of this pool to run with."
    )


class TolerationOperator(StrEnum):
    EXISTS = "Exists"
    EQUAL = "Equal"


class TaintEffect(StrEnum):
    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


class Toleration(Frozen):
    """As in core/v1."""

    key: str | None = Field(
        default=None,
        pattern=LABEL_KEY_PATTERN,
        max_length=MAX_LABEL_KEY_LENGTH,
        description="Key of the taint. Default: every key.",
    )
    operator: TolerationOperator = Field(
        default=TolerationOperator.EQUAL,
        description="Exists: any value of the key is tolerated; Equal: only this value.",
    )
    value: LabelValue | None = Field(default=None, description="Equal only: value of the taint.")
    effect: TaintEffect | None = Field(
        default=None, description="Effect of the taint. Default: every effect."
    )
    toleration_seconds: int | None = Field(
        default=None,
        ge=0,
        le=31_536_000,
        description="NoExecute only: how long the peer stays on a tainted node. Default: for ever.",
    )


class Pool(Frozen):
    """Peers of one kind: same resources, same kind of node, same image."""

    name: Name = Field(description="Name of the pool, unique in the job.")
    peers: PeerCount = Field(default=PeerCount(), description="How many peers.")
    architecture: Architecture | None = Field(
        default=None, description="Only nodes with this kubernetes.io/arch. Default: any."
    )
    accelerator: Accelerator | None = Field(
        default=None, description="Devices; omit for CPU peers."
    )
    processes: int = Field(
        default=1,
        ge=1,
        le=MAX_PROCESSES,
        description="Processes of a CPU peer that share its model out. A peer with devices has one per device, "
        "if the method can use them.",
    )
    resources: Resources = Field(default=Resources(), description="CPU and memory of each peer.")
    node_selector: dict[str, LabelValue] = Field(
        default_factory=dict, max_length=16, description="Labels a node must have."
    )
    tolerations: list[Toleration] = Field(
        default_factory=list, max_length=16, description="Taints to tolerate."
    )
    image: Image | None = Field(
        default=None, description="Trainer image of this pool (e.g. L4T on Jetson)."
    )
    runtime_class_name: ObjectName | None = Field(
        default=None, description="RuntimeClass, e.g. nvidia."
    )


class Placement(Frozen):
    """All or nothing: the run starts once minPeers peers can be placed together."""

    min_peers: int = Field(
        default=1, ge=1, le=MAX_PEERS, description="Gang minimum over all pools."
    )
    timeout_seconds: int = Field(
        default=600,
        ge=1,
        le=604_800,
        description="Without a plan for this long the job is Stalled.",
    )


class FailurePolicy(Frozen):
    """What happens to a peer that crashes. A lost node always means a replacement."""

    max_restarts: int = Field(
        default=3,
        ge=0,
        le=100,
        description="Restarts in place, before a peer is replaced by a fresh pod.",
    )
    max_replacements: int = Field(
        default=10,
        ge=0,
        le=10_000,
        description="Replacements over the job's life, before the job fails.",
    )


class Elasticity(Frozen):
    heartbeat_timeout_seconds: int = Field(
        default=60, ge=5, le=3600, description="A peer that is silent for this long leaves the run."
    )


class NetworkPolicySpec(Frozen):
    enabled: bool = Field(
        default=True,
        description="Create a NetworkPolicy: only this job's peers and the operator reach the hub.",
    )


class RuntimeSpec(Frozen):
    image: Image | None = Field(
        default=None, description="Trainer image; default: the operator's setting."
    )
    image_pull_secrets: list[ObjectName] = Field(
        default_factory=list, max_length=8, description="Secrets for pulling images."
    )
    service_account_name: ObjectName | None = Field(
        default=None,
        description="ServiceAccount of the pods (for cloud identities); its token is never mounted.",
    )


class Reporting(Frozen):
    period_seconds: int = Field(
        default=15, ge=1, le=3600, description="Time between two progress reports."
    )


class JobSpec(Frozen):
    """Desired state. Model, dataset, adapter, method, training, network and storage are immutable: make a new job instead."""

    suspend: bool = Field(default=False, description="True: save a checkpoint and stop all peers.")
    active_deadline_seconds: int | None = Field(
        default=None,
        ge=1,
        le=31_536_000,
        description="The job fails after running this long; suspension does not count.",
    )
    ttl_seconds_after_finished: int | None = Field(
        default=None,
        ge=0,
        le=31_536_000,
        description="The finished job is deleted after this long.",
    )
    priority_class_name: ObjectName | None = Field(
        default=None, description="PriorityClass of the pods."
    )
    model: ModelSpec = Field(description="Pre-trained base model.")
    dataset: DatasetSpec = Field(description="Training data.")
    adapter: AdapterSpec = Field(default=AdapterSpec(), description="What is trained.")
    method: dict[str, Any] = Field(
        description="How the peers train together: type, and the member of that name with its settings."
    )
    training: TrainingSpec = Field(default=TrainingSpec(), description="Rounds, batch, seed.")
    pools: list[Pool] = Field(
        min_length=1, max_length=16, description="Kinds of peers; mixed kinds train together."
    )
    placement: Placement = Field(default=Placement(), description="Gang scheduling.")
    elasticity: Elasticity = Field(
        default=Elasticity(), description="When a silent peer counts as gone."
    )
    failure_policy: FailurePolicy = Field(
        default=FailurePolicy(), description="Restarts and replacements."
    )
    network_policy: NetworkPolicySpec = Field(
        default=NetworkPolicySpec(), description="Isolation of the run log."
    )
    network: NetworkSpec = Field(default=NetworkSpec(), description="How peers' bytes travel.")
    storage: StorageSpec = Field(description="Where adapters, checkpoints and reports go.")
    checkpoint: CheckpointSpec = Field(
        default=CheckpointSpec(), description="How often state is saved."
    )
    evaluation: EvaluationSpec = Field(
        default=EvaluationSpec(), description="Held-out evaluation and the gate."
    )
    runtime: RuntimeSpec = Field(
        default=RuntimeSpec(), description="Image and identity of the pods."
    )
    reporting: Reporting = Field(default=Reporting(), description="Progress reports.")
