"""Cases of pools and placement, for the same two judges as ``job_cases``."""

from __future__ import annotations

from typing import Final

from job_cases import Case, pools

_TOLERATIONS: Final = "spec.pools[].tolerations"
_SELECTOR: Final = "spec.pools[].nodeSelector"
_MIN_PEERS: Final = "spec.placement.minPeers"

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
    Case("no peer at all", {}, {"spec.pools": pools((0, 0))}, "may not exceed the sum"),
    *(
        Case(
            f"no {resource}",
            {f"spec.pools[].resources.{resource}": "1m"},
            {f"spec.pools[].resources.{resource}": "0.0"},
            "must be above 0",
        )
        for resource in ("cpu", "memory")
    ),
    Case(
        "a device without memory",
        {"spec.pools[].accelerator.memory": "8Gi"},
        {"spec.pools[].accelerator.memory": "0Gi"},
        "omit it",
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
