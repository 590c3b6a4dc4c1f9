"""Nodes of a file, or this machine as a node: for ``haversack plan`` and the local cluster.

A file is either a short inventory (``nodes:`` with ``InventoryNode``s, see ``examples/nodes.yaml``)
or what ``kubectl get nodes -o yaml`` prints. The latter says nothing about pods, so there all that
is allocatable counts as free.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, ValidationError

from haversack_operator.api import names
from haversack_operator.api.faults import describe, quote
from haversack_operator.api.job import Architecture, LabelValue, TaintEffect
from haversack_operator.api.quantity import QuantityError, to_bytes, to_millis
from haversack_operator.snapshot import Amounts, Node, Taint
from haversack_trainer.contract.base import Frozen, ObjectName

from . import machine
from .documents import DocumentError, Limits, read_documents
from .kube_objects import node_from

Amount = Annotated[
    str,
    BeforeValidator(lambda value: str(value) if isinstance(value, int | float) else value),
    Field(min_length=1, max_length=64),
]
"""A quantity; YAML reads ``cpu: 4`` as a number."""
LabelKey = Annotated[str, Field(min_length=1, max_length=317)]
ARCH_LABEL: Final = "kubernetes.io/arch"
HOSTNAME_LABEL: Final = "kubernetes.io/hostname"
LIMITS: Final = Limits(size_bytes=64 * 2**20, values=2_000_000)
"""What ``kubectl get nodes -o yaml`` prints of some thousand nodes."""
MAX_AMOUNT: Final = 2**50
"""Bytes, or thousandths of a CPU: more than any node has, and the solvers can add it up."""


class InventoryError(Exception):
    """An inventory that cannot be used; the message names the file and the field."""


class NodeAccelerator(Frozen):
    """A node's devices, all of one kind."""

    resource_name: str = Field(default="nvidia.com/gpu", max_length=128, description="Resource.")
    count: int = Field(default=1, ge=1, le=1024, description="Devices.")
    memory: Amount | None = Field(default=None, description="Memory of one device.")
    unified: bool = Field(
        default=False, description="True on Jetson: devices share the node's memory."
    )


class NodeUse(Frozen):
    """What other work takes of a node."""

    cpu: Amount = Field(default="0", description="CPUs in use.")
    memory: Amount = Field(default="0", description="Memory in use.")
    devices: int = Field(default=0, ge=0, description="Devices in use.")


class NodeTaint(Frozen):
    key: LabelKey = Field(description="Key of the taint.")
    value: LabelValue = Field(default="", description="Value of the taint.")
    effect: TaintEffect = Field(default=TaintEffect.NO_SCHEDULE, description="Effect of the taint.")


class InventoryNode(Frozen):
    """A node in few words."""

    name: ObjectName = Field(description="Name of the node, unique.")
    architecture: Architecture = Field(
        default=Architecture.AMD64, description="Architecture of its CPUs."
    )
    cpu: Amount = Field(description="CPUs for pods.")
    memory: Amount = Field(description="Memory for pods.")
    accelerator: NodeAccelerator | None = Field(default=None, description="Devices.")
    zone: LabelValue | None = Field(default=None, description="Site or zone.")
    labels: dict[LabelKey, LabelValue] = Field(default_factory=dict, description="More labels.")
    taints: list[NodeTaint] = Field(default_factory=list, description="Taints.")
    used: NodeUse = Field(default=NodeUse(), description="What other work takes.")


class Inventory(Frozen):
    """The short format."""

    nodes: list[InventoryNode] = Field(min_length=1, description="The nodes.")


def read_nodes(path: Path) -> tuple[Node, ...]:
    """The nodes of a file, in its order. Raises ``InventoryError``."""
    try:
        nodes = _nodes(_document(path))
    except DocumentError as error:
        raise InventoryError(str(error)) from error
    except (QuantityError, ValueError) as error:
        raise InventoryError(f"{path}: {error}") from error
    return nodes


def _document(path: Path) -> Mapping[str, Any]:
    documents = read_documents(path, LIMITS, "nodes")
    if len(documents) != 1:
        raise ValueError(f"has {len(documents)} documents; one is wanted")
    document = documents[0]
    if isinstance(document, dict):
        return document
    raise ValueError("must be an object with the list 'nodes', or a list from kubectl")


def _nodes(document: Mapping[str, Any]) -> tuple[Node, ...]:
    nodes = _from_kubectl(document) if "kind" in document else _from_inventory(document)
    twice = [name for name, times in Counter(node.name for node in nodes).items() if times > 1]
    if twice:
        raise ValueError(f"there are two nodes named {min(twice)}; give each its own name")
    return nodes


def _from_inventory(document: Mapping[str, Any]) -> tuple[Node, ...]:
    try:
        inventory = Inventory.model_validate(document)
    except ValidationError as error:
        said = describe(error, Inventory, "").removeprefix(".")
        raise ValueError(said) from error
    return tuple(_node(node, f"nodes[{n}]") for n, node in enumerate(inventory.nodes))


def _from_kubectl(document: Mapping[str, Any]) -> tuple[Node, ...]:
    kind = document["kind"]
    if kind == "Node":
        return (_from_body(document, "this"),)
    if kind not in {"List", "NodeList"}:
        raise ValueError(f"is a {quote(kind)}; write the output of kubectl get nodes -o yaml")
    bodies = document.get("items")
    if not isinstance(bodies, list) or not bodies:
        raise ValueError("items: must be a list of nodes, with at least one")
    return tuple(_from_body(body, f"items[{n}]") for n, body in enumerate(bodies))


def _from_body(body: object, where: str) -> Node:
    if not isinstance(body, dict) or body.get("kind", "Node") != "Node":
        raise ValueError(f"{where} is not a Node; write the output of kubectl get nodes -o yaml")
    try:
        node = node_from(body)
    except QuantityError as error:
        raise ValueError(f"{where}.status.allocatable: {error}") from error
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{where} is not a whole Node: {error!r}") from error
    has = node.allocatable
    if not has.cpu_millis or not has.memory_bytes:
        raise ValueError(f"{where}.status.allocatable: cpu and memory must be more than 0")
    if max(has.cpu_millis, has.memory_bytes, *has.devices.values()) > MAX_AMOUNT:
        raise ValueError(f"{where}.status.allocatable: has more than a node can have")
    return node


def _node(node: InventoryNode, path: str) -> Node:
    device = node.accelerator
    resource = device.resource_name if device else ""
    if node.used.devices and not device:
        raise ValueError(f"{path}.used.devices: the node has no accelerator")
    cpu = _amount(to_millis, node.cpu, f"{path}.cpu", least=1)
    memory = _amount(to_bytes, node.memory, f"{path}.memory", least=1)
    labels = {ARCH_LABEL: node.architecture.value, HOSTNAME_LABEL: node.name}
    if node.zone is not None:
        labels[names.NODE_ZONE] = node.zone
    if device and device.memory is not None:
        _amount(to_bytes, device.memory, f"{path}.accelerator.memory", least=1)
        labels[names.NODE_ACCELERATOR_MEMORY] = device.memory
    if device and device.unified:
        labels[names.NODE_UNIFIED_MEMORY] = "true"
    return Node(
        name=node.name,
        labels={**labels, **node.labels},
        allocatable=Amounts(cpu, memory, {resource: device.count} if device else {}),
        taints=tuple(Taint(one.key, one.effect.value, one.value) for one in node.taints),
        used=Amounts(
            _amount(to_millis, node.used.cpu, f"{path}.used.cpu"),
            _amount(to_bytes, node.used.memory, f"{path}.used.memory"),
            {resource: node.used.devices} if device else {},
        ),
    )


def _amount(read: Callable[[str], int], quantity: str, path: str, least: int = 0) -> int:
    try:
        amount = read(quantity)
    except QuantityError as error:
        raise ValueError(f"{path}: {error}") from error
    if amount < least:
        raise ValueError(f"{path}: must be more than 0, is {quantity}")
    if amount > MAX_AMOUNT:
        raise ValueError(f"{path}: is more than a node can have: {quantity}")
    return amount


def this_machine() -> Node:
    """This machine as one node, with what its hardware says."""
    devices = machine.device_memory_bytes()
    architecture = machine.architecture()
    labels = {ARCH_LABEL: architecture, HOSTNAME_LABEL: machine.name()}
    if devices:
        labels[names.NODE_ACCELERATOR_MEMORY] = str(min(devices))
    return Node(
        name=machine.name(),
        labels=labels,
        allocatable=Amounts(
            machine.num_cpus() * 1000,
            machine.memory_bytes(),
            {machine.DEVICE_RESOURCE: len(devices)} if devices else {},
        ),
    )
