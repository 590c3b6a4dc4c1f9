"""Cases of addresses and names of other objects, for the same two judges as ``job_cases``."""

from __future__ import annotations

from typing import Final

from job_cases import Case

ADDRESS_CASES: Final = (
    *(
        Case(
            f"{place} {bad}",
            {f"spec.{place}.uri": good},
            {f"spec.{place}.uri": bad},
            "uri: write s3://bucket/prefix",
        )
        for place in ("model", "dataset", "dataset.heldOut", "storage")
        for good, bad in (
            ("s3://bucket/a", "file://a/b"),
            ("pvc://claim/a", "pvc://Claim/a"),
            ("s3://bucket/a..b", "s3://bucket/../b"),
            ("s3://bucket", "s3:///bucket"),
        )
    ),
    Case(
        "revision without hf",
        {"spec.model.revision": "main"},
        {"spec.model.revision": "main", "spec.model.uri": "file:///model"},
        "revision: only hf://",
    ),
    Case(
        "credentials in an endpoint",
        {"spec.storage.s3.endpoint": "http://x:9000/"},
        {"spec.storage.s3.endpoint": "http://user:pw@x:9000/"},
        "s3.endpoint: everybody may read it",
    ),
    *(
        Case(
            f"control character in {path}",
            {f"spec.{path}": "s3://bucket/a"},
            {f"spec.{path}": "s3://bucket/a\x00b"},
            path,
        )
        for path in ("model.uri", "dataset.uri", "dataset.heldOut.uri", "storage.uri")
    ),
    *(
        Case(
            f"{path} is a subdomain",
            {f"spec.{path}": "a.b-c"},
            {f"spec.{path}": "a..b"},
            path.replace("[]", "[0]"),
        )
        for path in (
            "priorityClassName",
            "runtime.serviceAccountName",
            "pools[].runtimeClassName",
            "storage.s3.secretRef.name",
        )
    ),
)
