"""Rules that only the API server can judge: changes of an object, its name, and that it is in a cluster.

``parse_spec`` sees one manifest at a time and no cluster; it checks the name by itself.
"""

from __future__ import annotations

from typing import Final

from haversack_operator.api.job import MAX_NAME_LENGTH, NAME_PATTERN, NAME_WORDS
from haversack_trainer.contract.base import cel

_IMMUTABLE: Final = ("model", "dataset", "adapter", "method", "training", "network", "storage")
_REPLICAS: Final = ".pools.map(pool, pool.peers.replicas).sum()"

JOB_ADMISSION: Final[tuple[tuple[str, dict[str, str]], ...]] = (
    *(
        (f"spec.{name}", cel("self == oldSelf", f"{name}: is immutable; make a new job instead"))
        for name in _IMMUTABLE
    ),
    (
        "spec",
        cel(
            f"self{_REPLICAS} == oldSelf{_REPLICAS}",
            "pools: the sum of peers.replicas is the number of parts the data is split into and "
            "is immutable; make a new job instead",
        ),
    ),
    (
        "spec.storage",
        cel(
            "!self.uri.startsWith('file://')",
            "uri: a folder of the pod goes with the pod; write s3:// or pvc:// "
            "(file:// is for haversack run)",
        ),
    ),
    (
        "",
        cel(
            f"size(self.metadata.name) <= {MAX_NAME_LENGTH} "
            f"&& self.metadata.name.matches('{NAME_PATTERN}')",
            f"metadata.name: names of pods and of a Service are built from it; write at most "
            f"{MAX_NAME_LENGTH} {NAME_WORDS}",
        ),
    ),
)
"""Path and ``x-kubernetes-validations`` entry."""

PLAN_ADMISSION: Final = (("spec", cel("self == oldSelf", "a plan never changes; make a new one")),)
