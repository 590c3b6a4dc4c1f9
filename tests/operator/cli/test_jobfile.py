"""What a person hands to ``haversack run``, and what is said when it will not do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from haversack_operator.cli.jobfile import read
from haversack_operator.cli.words import InputError


def a_job(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "haversack.dev/v1alpha1",
        "kind": "FineTuneJob",
        "metadata": {"name": "mine"},
        "spec": {
            "model": {"uri": "file:///m", "task": "SequenceClassification"},
            "dataset": {"uri": "file:///d.jsonl"},
            "method": {"type": "SPSA"},
            "pools": [{"name": "cpu"}],
            "storage": {"uri": "file:///out"},
            **spec,
        },
    }


def written(folder: Path, *documents: Any) -> Path:
    path = folder / "job.yaml"
    path.write_text(yaml.safe_dump_all(documents))
    return path


def test_addresses_beside_the_file_and_in_claims_become_folders(tmp_path: Path) -> None:
    job = a_job(
        dataset={"uri": "file://./data/d.jsonl", "heldOut": {"uri": "file://./h.jsonl"}},
        storage={"uri": "pvc://results/team"},
    )
    spec = read(written(tmp_path, job), tmp_path).job["spec"]
    assert spec["dataset"]["uri"] == f"file://{tmp_path}/data/d.jsonl"
    assert spec["dataset"]["heldOut"]["uri"] == f"file://{tmp_path}/h.jsonl"
    assert spec["storage"]["uri"] == f"file://{tmp_path}/claims/results/team"
    assert spec["model"]["uri"] == "file:///m"


def test_a_secret_in_the_file_goes_to_the_jobs_namespace(tmp_path: Path) -> None:
    job = a_job(storage={"uri": "s3://bucket/x", "s3": {"secretRef": {"name": "s3"}}})
    job["metadata"]["namespace"] = "team"
    secret = {
        "kind": "Secret",
        "metadata": {"name": "s3"},
        "stringData": {"AWS_ACCESS_KEY_ID": "a"},
    }
    (found,) = read(written(tmp_path, job, secret), tmp_path).secrets
    assert found["metadata"] == {"name": "s3", "namespace": "team"}


def test_a_missing_secret_is_made_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(
        tmp_path, a_job(storage={"uri": "s3://bucket/x", "s3": {"secretRef": {"name": "s3"}}})
    )
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY", raising=False)
    with pytest.raises(InputError, match=r"no Secret s3 here.*AWS_SECRET_ACCESS_KEY"):
        read(path, tmp_path)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    (secret,) = read(path, tmp_path).secrets
    assert secret["data"] == {"AWS_ACCESS_KEY_ID": "a2V5", "AWS_SECRET_ACCESS_KEY": "aHVzaA=="}


@pytest.mark.parametrize(
    ("documents", "said"),
    [
        ([], "one FineTuneJob is wanted; the file has nothing"),
        ([{"kind": "Pod"}, {"kind": "Service"}], "the file has Pod, Service"),
        ([a_job(), a_job()], "the file has FineTuneJob, FineTuneJob"),
        ([["a", "list"]], "the file has list"),
        ([a_job(method={"type": "Magic"})], "spec.method.type"),
        ([a_job(pools=[])], "spec.pools"),
        ([{"kind": "FineTuneJob", "apiVersion": "haversack.dev/v1alpha1"}], "metadata.name"),
    ],
)
def test_what_will_not_do_is_named(tmp_path: Path, documents: list[Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        read(written(tmp_path, *documents), tmp_path)


def test_a_file_that_is_not_there_or_not_yaml(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        read(tmp_path / "none.yaml", tmp_path)
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [1\nb: 2\n")
    with pytest.raises(InputError, match=r"is not YAML: .*, line 2"):
        read(broken, tmp_path)
