"""The parts of a ``FineTuneJob`` that the trainer honours, shared with the job file.

The operator's ``api`` room adds pools, placement and life cycle around them and generates the
CRD from the descriptions and bounds given here.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field

from .base import UNSEEN, VISIBLE, Decimal, Frozen, ObjectName
from .prompt import PromptSpec

Uri = Annotated[
    str, Field(pattern=f"^(s3|hf|pvc|file)://{VISIBLE}+$", min_length=8, max_length=1024)
]
ColumnName = Annotated[str, Field(min_length=1, max_length=128)]

MAX_PERIOD: Final = 100_000
HELD_OUT_PERCENT: Final = 20
"""Where neither a share nor a data set of its own is given."""


class Task(StrEnum):
    SEQUENCE_CLASSIFICATION = "SequenceClassification"
    IMAGE_CLASSIFICATION = "ImageClassification"
    CAUSAL_LM = "CausalLM"
    MASKED_LM = "MaskedLM"


CLASSIFICATION: Final = frozenset({Task.SEQUENCE_CLASSIFICATION, Task.IMAGE_CLASSIFICATION})


class Quantization(StrEnum):
    NONE = "None"
    NF4 = "NF4"


class SecretRef(Frozen):
    """A Secret in the job's own namespace."""

    name: ObjectName = Field(description="Name of the Secret.")


class Footprint(Frozen):
    """Size of the base model, as far as memory depends on it."""

    parameters: int = Field(ge=1, le=10**13, description="Number of parameters of the base model.")
    hidden_size: int = Field(ge=1, le=10**6, description="Width of a hidden state.")
    num_layers: int = Field(ge=1, le=10**4, description="Number of transformer layers.")
    vocabulary_size: int | None = Field(
        default=None,
        ge=1,
        le=10**7,
        description="Size of the vocabulary. Language models need it: their logits are as wide.",
    )


class ModelSpec(Frozen):
    """The pre-trained base model."""

    uri: Uri = Field(
        description="Where the model is: s3://bucket/prefix, hf://owner/name, pvc://claim/path or "
        "file:///path, a folder in Hugging Face layout (config.json, *.safetensors, tokenizer)."
    )
    revision: str | None = Field(
        default=None, max_length=128, description="Commit or tag; hf:// only."
    )
    task: Task = Field(description="What the model is trained to do; decides head and loss.")
    quantization: Quantization = Field(
        default=Quantization.NONE,
        description="NF4: the frozen model's linear layers in four bits; what is trained stays fp32.",
    )
    footprint: Footprint | None = Field(
        default=None,
        description="Size of the model. With it placement chooses each peer's micro-batch so that "
        "the peer fits its node's memory; without it every peer uses training.microBatchSize.",
    )


class DataFormat(StrEnum):
    JSONL = "JSONL"
    CSV = "CSV"
    TEXT = "Text"
    FOLDER = "Folder"


class PartitionType(StrEnum):
    IID = "IID"
    DIRICHLET = "Dirichlet"
    SHARDS = "Shards"
    BY_COLUMN = "ByColumn"
    SIZES = "Sizes"


class PartitionSpec(Frozen):
    """How the training samples are split over the peers. Seeded by training.seed."""

    type: PartitionType = Field(
        default=PartitionType.IID,
        description="IID; Dirichlet (label skew, see alpha); Shards (shardsPerPeer label-sorted "
        "shards); ByColumn (rows with the same value stay together); Sizes (given proportions).",
    )
    alpha: Decimal | None = Field(
        default=None, description="Dirichlet only: concentration; small means skewed. Default 0.5."
    )
    shards_per_peer: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="Shards only: label-sorted shards per peer. Default 2.",
    )
    column: ColumnName | None = Field(default=None, description="ByColumn only: the column.")
    sizes: list[Annotated[int, Field(ge=1, le=10**9)]] | None = Field(
        default=None, max_length=256, description="Sizes only: relative size of each peer's part."
    )


class HeldOutSpec(Frozen):
    """The samples that no peer trains on; the gate judges on them."""

    percent: int | None = Field(
        default=None,
        ge=1,
        le=50,
        description=f"Share of the data set held out; without uri only. Default {HELD_OUT_PERCENT}.",
    )
    uri: Uri | None = Field(
        default=None,
        description="A data set of its own instead of percent, same format; must not overlap the "
        "training data.",
    )
    personal_percent: int | None = Field(
        default=None,
        ge=1,
        le=50,
        description="Share of each peer's own samples that it does not train on. After the last round every peer "
        "scores its own model on them (personalised) and on the common held-out samples. Default: none of this.",
    )
    max_samples: int = Field(
        default=2000, ge=10, le=100_000, description="At most this many held-out samples are used."
    )


class DatasetSpec(Frozen):
    """The training data: one file, or a folder of files of the same format."""

    uri: Uri = Field(description="Where the data is; same schemes as model.uri.")
    format: DataFormat = Field(
        default=DataFormat.JSONL,
        description="JSONL, CSV (with header), Text (one sample a line), or Folder "
        "(datasets.save_to_disk). Folder needs an image with the trainer's 'data' extra; the shipped "
        "one is without.",
    )
    text_column: ColumnName = Field(
        default="text", description="Column with the text (or the image's pixels)."
    )
    label_column: ColumnName = Field(
        default="label", description="Column with the class; classification and prompt only."
    )
    prompt: PromptSpec | None = Field(
        default=None,
        description="CausalLM and MaskedLM: classify by the words that the model would say.",
    )
    prompt_column: ColumnName | None = Field(
        default=None,
        description="CausalLM: column with a prompt, instead of textColumn; goes with completionColumn.",
    )
    completion_column: ColumnName | None = Field(
        default=None,
        description="CausalLM: column with what follows the prompt; only its tokens count in the loss.",
    )
    max_length: int = Field(
        default=128, ge=4, le=131_072, description="Samples are cut to this many tokens."
    )
    partition: PartitionSpec = Field(default=PartitionSpec(), description="Split over the peers.")
    held_out: HeldOutSpec = Field(
        default=HeldOutSpec(), description="Samples for evaluation and gate."
    )


def has_labels(task: Task, dataset: DatasetSpec) -> bool:
    """Whether the job's samples have classes."""
    return task in CLASSIFICATION or dataset.prompt is not None


class S3Spec(Frozen):
    """How s3:// addresses of this job are reached."""

    endpoint: (
        Annotated[str, Field(pattern=f"^https?://[^{UNSEEN}/?#]+/?$", max_length=512)] | None
    ) = Field(
        default=None,
        description="URL of an S3-compatible server, without credentials. Default: AWS.",
    )
    region: str = Field(default="us-east-1", min_length=1, max_length=64, description="Region.")
    secret_ref: SecretRef | None = Field(
        default=None,
        description="Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and optionally "
        "AWS_SESSION_TOKEN). Without it the pod's own identity is used.",
    )


class StorageSpec(Frozen):
    """Where adapters, checkpoints and reports go."""

    uri: Annotated[
        str, Field(pattern=f"^(s3|file|pvc)://{VISIBLE}+$", min_length=8, max_length=1024)
    ] = Field(
        description="s3://bucket/prefix, pvc://claim/path or file:///path. The job writes below <uri>/<job name>/."
    )
    s3: S3Spec = Field(default=S3Spec(), description="For every s3:// address of the job.")


class CheckpointSpec(Frozen):
    """How often the state of the run is saved."""

    period_rounds: int = Field(
        default=5, ge=1, le=MAX_PERIOD, description="Rounds between two checkpoints."
    )
    keep: int = Field(
        default=2, ge=1, le=100, description="Checkpoints kept; older ones are deleted."
    )


class Approval(StrEnum):
    AUTOMATIC = "Automatic"
    MANUAL = "Manual"


class GateSpec(Frozen):
    """An adapter is published only if it passes."""

    tolerance: Decimal = Field(
        default="0",
        description="The upper end of the 95 % interval of (new loss - reference loss), paired by sample, "
        "must not exceed this. References: the base model and the adapter published before.",
    )
    approval: Approval = Field(
        default=Approval.AUTOMATIC,
        description="Manual: a person approves the adapter (haversack approve) before it is published.",
    )

    @property
    def needs_approval(self) -> bool:
        """Whether a person has a word before the adapter is published."""
        return self.approval is Approval.MANUAL


class EvaluationSpec(Frozen):
    """Held-out evaluation."""

    period_rounds: int = Field(
        default=5, ge=1, le=MAX_PERIOD, description="Rounds between two evaluations."
    )
    gate: GateSpec = Field(default=GateSpec(), description="The condition for publishing.")
