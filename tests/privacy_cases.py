"""Cases of privacy in the methods' settings, for the same two judges as ``job_cases``."""

from __future__ import annotations

from typing import Any, Final

from job_cases import Case

_PRIVATE: Final[tuple[tuple[str, str, dict[str, Any]], ...]] = (
    ("SPSA", "spsa", {}),
    ("DecLoRA", "decLoRA", {"mixer": "FFA"}),
    ("DropPEFT", "dropPEFT", {}),
)


def _method(type_: str, member: str, settings: dict[str, Any]) -> dict[str, Any]:
    return {"spec.method": {"type": type_, member: settings}}


PRIVACY_CASES: Final = (
    *(
        Case(
            f"{type_}: privacy with {field} {bad}",
            _method(type_, member, {**others, "privacy": good}),
            _method(type_, member, {**others, "privacy": {field: bad}}),
            sentence,
        )
        for type_, member, others in _PRIVATE
        for field, bad, good, sentence in (
            ("clip", "0", {"clip": "0.5"}, "privacy: clip and"),
            ("noiseMultiplier", "0.0", {"noiseMultiplier": "0.5"}, "privacy: clip and"),
            ("delta", "0", {"delta": "0.5"}, "privacy.delta: is a"),
            ("delta", "1.0", {"delta": "0.5"}, "privacy.delta: is a"),
            (
                "whenSpent",
                "Rest",
                {"whenSpent": "Rest", "maxEpsilon": "8"},
                "privacy.whenSpent: goes with maxEpsilon",
            ),
        )
    ),
    *(
        Case(
            f"noise on both factors of {mixer}",
            _method("DecLoRA", "decLoRA", {"mixer": "Auto", "privacy": {}}),
            _method("DecLoRA", "decLoRA", {**mixer, "privacy": {}}),
            "privacy: noise on both factors",
        )
        for mixer in ({}, {"mixer": "ADF"}, {"mixer": "DeCAF"}, {"mixer": "FedRot"})
    ),
    *(
        Case(
            f"privacy with {field} {bad}",
            _method("DropPEFT", "dropPEFT", {field: good, "privacy": {}}),
            _method("DropPEFT", "dropPEFT", {field: bad, "privacy": {}}),
            "privacy: what is chosen by",
        )
        for field, bad, good in (
            ("configurator", "EpsilonGreedy", "Off"),
            ("share", "Low", "FixedBottom"),
            ("share", "High", "All"),
            ("shape", "Importance", "Bell"),
        )
    ),
)
