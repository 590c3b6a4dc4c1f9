"""Cases of pools and placement, for the same two judges as ``job_cases``."""

from __future__ import annotations

from typing import Any, Final

from job_cases import Case, pools

_TOLERATIONS: Final = "spec.pools[].tolerations"
_SELECTOR: Final = "spec.pools[].nodeSelector"
_MIN_PEERS: Final = "spec.placement.minPeers"
_POOL: Final = "spec.pools[]."
_SHARDED: Final = {"spec.method": {"type": "FlexDeMo", "flexDeMo": {"sharding": "ZeRO1"}}}
_GROUPS: Final = {"spec.method": {"type": "D2FT", "d2FT": {"sharding": "Groups"}}}
_FORWARDS: Final = {"spec.method": {"type": "SPSA", "spsa": {"sharding": "ZeRO3"}}}
_CPUS: Final = (
    ("1m", "0"),
    ("0.001", "0.000"),
    ("100000", "100001"),
    ("100000000m", "100000001m"),
    ("2", "2Gi"),
    ("0.5", "0.5m"),
    ("1.5", "two"),
    ("500m", "500m\n"),
)
_MEMORIES: Final = (
    ("1Mi", "1m"),
    ("1048576", "1048575"),
    ("1Pi", "1.001Pi"),
    ("1.125P", "1.126P"),
    ("1.5Gi", "0Gi"),
    ("2G", "2Ei"),
    ("2000000k", "2e9"),
    ("0.5Ti", "8GiB"),
    ("2Gi", "9999999999Pi"),
)


def _unlike(devices: int, processes: int) -> list[dict[str, Any]]:
    """A pool of peers with devices beside one of peers without."""
    return [
        {"name": "gpu", "accelerator": {"count": devices}},
        {"name": "cpu", "processes": processes},
    ]


POOL_CASES: Final = (
    Case(
        "min above replicas",
        {"spec.pools": pools((3, 3)), _MIN_PEERS: 3},
        {"spec.pools": pools((2, 3)), _MIN_PEERS: 3},
        "min: may not exceed replicas",
    ),
    Case(
        "256 peers",
        {"spec.pools": pools((200, 0), (56, 0))},
        {"spec.pools": pools((200, 0), (57, 0))},
        "at most 256 peers",
    ),
    Case(
        "gang below the pools' minima",
        {"spec.pools": pools((2, 1), (2, 2)), _MIN_PEERS: 3},
        {"spec.pools": pools((2, 1), (2, 2)), _MIN_PEERS: 2},
        "may not be below the sum",
    ),
    Case(
        "gang above the replicas",
        {"spec.pools": pools((2, 0), (1, 0)), _MIN_PEERS: 3},
        {"spec.pools": pools((2, 0), (1, 0)), _MIN_PEERS: 4},
        "may not exceed the sum",
    ),
    Case(
        "several processes of one model each",
        {**_SHARDED, _POOL + "processes": 2},
        {"spec.method": {"type": "FlexDeMo", "flexDeMo": {}}, _POOL + "processes": 2},
        "pools: several processes share a model out",
    ),
    Case(
        "several processes and a method that has no use for them",
        {_POOL + "accelerator": {"count": 2}},
        {_POOL + "processes": 2},
        "pools: several processes share a model out",
    ),
    Case(
        "processes beside devices",
        {**_SHARDED, _POOL + "accelerator": {"count": 2}},
        {**_SHARDED, _POOL + "accelerator": {"count": 2}, _POOL + "processes": 2},
        "processes: is for CPU peers",
    ),
    Case(
        "peers with other numbers of processes",
        {**_SHARDED, "spec.pools": _unlike(2, 2)},
        {**_SHARDED, "spec.pools": _unlike(2, 3)},
        "pools: with sharding every process",
    ),
    Case(
        "peers with other numbers of devices that are not shared out",
        {"spec.pools": _unlike(2, 1)},
        {**_SHARDED, "spec.pools": _unlike(2, 1)},
        "pools: with sharding every process",
    ),
    Case(
        "four bits are not shared out",
        {"spec.model.quantization": "NF4"},
        {**_SHARDED, "spec.model.quantization": "NF4"},
        "model.quantization: weights in four bits",
    ),
    Case(
        "SPSA's pods have no partners",
        {**_FORWARDS, "spec.pools": _unlike(2, 3)},
        {**_SHARDED, "spec.pools": _unlike(2, 3)},
        "pools: with sharding every process",
    ),
    Case(
        "D2FT's pods are one client each",
        {**_GROUPS, "spec.pools": _unlike(2, 3)},
        {**_SHARDED, "spec.pools": _unlike(2, 3)},
        "pools: with sharding every process",
    ),
    Case(
        "several processes of D2FT that have nothing to share out",
        {**_GROUPS, _POOL + "processes": 2},
        {"spec.method": {"type": "D2FT"}, _POOL + "processes": 2},
        "pools: several processes share a model out",
    ),
    Case(
        "groups with one process to run them",
        {**_GROUPS, "spec.pools": _unlike(2, 1)},
        {**_GROUPS, "spec.pools": _unlike(1, 1)},
        "pools: sharding Groups shares a peer's model out",
    ),
    Case(
        "nothing is frozen that SPSA could share out",
        {**_SHARDED, "spec.adapter.type": "Full"},
        {**_FORWARDS, "spec.adapter.type": "Full"},
        "adapter.type: SPSA's processes",
    ),
    Case("no peer at all", {}, {"spec.pools": pools((0, 0))}, "may not exceed the sum"),
    *(
        Case(f"{path} {bad}", {_POOL + path: good}, {_POOL + path: bad}, says)
        for path, says, pairs in (
            ("resources.cpu", "cpu: write 1m to 100000 CPUs", _CPUS),
            ("resources.memory", "memory: write 1Mi to 1Pi", _MEMORIES),
            ("accelerator.memory", "omit it where any device will do", _MEMORIES),
        )
        for good, bad in pairs
    ),
    *(
        Case(f"selector {bad[:12]}", {_SELECTOR: {good: "v"}}, {_SELECTOR: {bad: "v"}}, "nodeSel")
        for good, bad in (
            ("example.com/pool", "example.com/"),
            ("a" * 63, "a" * 64),
            ("A.b_c-d", "a b"),
        )
    ),
    Case(
        "Exists takes no value",
        {_TOLERATIONS: [{"operator": "Exists"}]},
        {_TOLERATIONS: [{"operator": "Exists", "key": "edge", "value": "x"}]},
        "operator: Exists",
    ),
    Case(
        "Equal needs a key",
        {_TOLERATIONS: [{"key": "edge"}]},
        {_TOLERATIONS: [{"value": "x"}]},
        "operator: Exists",
    ),
    Case(
        "tolerationSeconds without NoExecute",
        {_TOLERATIONS: [{"key": "k", "effect": "NoExecute", "tolerationSeconds": 0}]},
        {_TOLERATIONS: [{"key": "k", "effect": "NoSchedule", "tolerationSeconds": 0}]},
        "tolerationSeconds: goes with",
    ),
)
