"""Cases of SPSA's settings, for the same two judges as ``job_cases``."""

from __future__ import annotations

from typing import Any, Final

from job_cases import Case

_DIFFERENCES_ONLY: Final[tuple[dict[str, Any], ...]] = (
    {"sharedBatch": True},
    {"pointsPerPass": 2},
    {"sharedBatch": True, "differences": "OneSided"},
    {"privacy": {}},
)

SPSA_CASES: Final = tuple(
    Case(
        f"SPSA: {title}",
        {"spec.method": {"type": "SPSA", "spsa": good}},
        {"spec.method": {"type": "SPSA", "spsa": bad}},
        message,
    )
    for title, good, bad, message in (
        (
            "backward passes of weights that are shared out",
            {"sharding": "ZeRO3"},
            {"sharding": "ZeRO3", "estimator": "Projection"},
            "sharding: Projection takes",
        ),
        (
            "momentum that never ends",
            {"momentum": "0.999"},
            {"momentum": "1.0"},
            "momentum: must",
        ),
        (
            "one-sided differences without a loss to compare with",
            {"differences": "OneSided", "sharedBatch": True},
            {"differences": "OneSided"},
            "differences: OneSided compares",
        ),
        (
            "many points in a pass, many batches",
            {"pointsPerPass": 16, "sharedBatch": True},
            {"pointsPerPass": 3},
            "pointsPerPass: a pass has one batch",
        ),
        (
            "local steps without a projection",
            {"estimator": "Projection", "localSteps": 4},
            {"localSteps": 4},
            "localSteps and localLearningRate: go with",
        ),
        (
            "a local rate without a projection",
            {"estimator": "Projection", "localLearningRate": "0.1"},
            {"localLearningRate": "0.1"},
            "localSteps and localLearningRate: go with",
        ),
        (
            "local steps that go nowhere",
            {"estimator": "Projection", "localLearningRate": "0.0000000001"},
            {"estimator": "Projection", "localLearningRate": "0.0"},
            "localLearningRate: must be",
        ),
        *(
            (
                f"a projection with {list(other)[-1]}",
                other,
                {"estimator": "Projection", **other},
                "estimator: Projection measures no",
            )
            for other in _DIFFERENCES_ONLY
        ),
        *(
            (
                f"{field} of plain signs",
                {"distribution": "LowRank", field: 4},
                {field: 4},
                "rank and refreshRounds: go with",
            )
            for field in ("rank", "refreshRounds")
        ),
        (
            "signs, which have no scale to take out",
            {"code": "StochasticByte", "normalise": True},
            {"code": "Sign", "normalise": True},
            "normalise: Sign sends",
        ),
        (
            "the spread of one scalar",
            {"normalise": True, "directions": 2},
            {"normalise": True, "directions": 1},
            "normalise: one direction",
        ),
    )
)
