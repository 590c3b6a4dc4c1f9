"""What a peer and the hub are told from outside, and what they say of bad input."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from haversack_trainer.config import ConfigError, load_hub, load_peer
from haversack_trainer.contract import environment as env

JOB: dict[str, Any] = {
    "run": "default.demo.0a1b2c3d",
    "job": "demo",
    "model": {"uri": "hf://owner/name", "task": "SequenceClassification"},
    "dataset": {"uri": "s3://bucket/train.jsonl"},
    "method": {"type": "DecLoRA", "settings": {"localSteps": 4}},
    "storage": {"uri": "s3://bucket/out"},
    "numPeers": 4,
    "minPeers": 2,
}


def environment(tmp_path: Path, job: Any = JOB, **changes: str) -> dict[str, str]:
    path = tmp_path / "job.json"
    path.write_text(job if isinstance(job, str) else json.dumps(job))
    return {
        env.JOB_FILE: str(path),
        env.PEER: "3",
        env.HUB_URL: "https://demo-hub.default.svc:8443/",
        env.LISTEN: "10.0.0.5:8443",
        **changes,
    }


def job_with(path: str, value: Any) -> dict[str, Any]:
    """``JOB`` with one field replaced; ``path`` is dotted."""
    changed: dict[str, Any] = json.loads(json.dumps(JOB))
    inner, (*way, last) = changed, path.split(".")
    for part in way:
        inner = inner.setdefault(part, {})
    inner[last] = value
    return changed


def refused(environ: dict[str, str]) -> str:
    with pytest.raises(ConfigError) as caught:
        load_peer(environ)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_from_pod_to_pod_a_peer_needs_an_address(tmp_path: Path) -> None:
    job = job_with("network.bulk", "Direct")
    assert load_peer(environment(tmp_path, job, **{env.ADDRESS: "10.0.0.7"})).address == "10.0.0.7"
    assert refused(environment(tmp_path, job)) == f"{env.ADDRESS} is not set; set it"
    assert load_peer(environment(tmp_path)).address == ""


def test_a_peer_reads_job_method_and_place(tmp_path: Path) -> None:
    config = load_peer(
        environment(
            tmp_path,
            **{
                env.ATTEMPT: "2",
                env.NODE: "jetson-1",
                env.MICRO_BATCH_SIZE: "8",
                env.TLS_DIR: "/t",
            },
        )
    )
    assert (config.peer, config.attempt, config.node) == (3, 2, "jetson-1")
    assert config.card.type == "DecLoRA"
    assert config.settings.model_dump()["local_steps"] == 4
    assert config.micro_batch_size == 8
    assert config.hub_url == "https://demo-hub.default.svc:8443"
    assert config.hub_name == "demo-hub.default.svc"
    assert config.tls_dir == Path("/t")
    assert config.work_dir == Path(env.WORK_MOUNT)
    assert config.cache_dir == Path(env.CACHE_MOUNT)


def test_the_hub_reads_its_address(tmp_path: Path) -> None:
    config = load_hub(environment(tmp_path))
    assert (config.host, config.port) == ("10.0.0.5", 8443)
    assert config.job.job == "demo"
    config = load_hub(environment(tmp_path, **{env.LISTEN: "[fd00::5]:0"}))
    assert (config.host, config.port) == ("fd00::5", 0)
    assert not config.awaits_log
    assert load_hub(environment(tmp_path, **{env.AWAIT_LOG: "1"})).awaits_log


@pytest.mark.parametrize(
    "address", ["", "8443", "host", "host:", ":1", "host:http", "host:70000", "host:0000060000"]
)
def test_the_hub_refuses_what_is_no_address(tmp_path: Path, address: str) -> None:
    with pytest.raises(ConfigError, match=env.LISTEN):
        load_hub(environment(tmp_path, **{env.LISTEN: address}))


@pytest.mark.parametrize(
    ("job", "micro"),
    [(JOB, 32), (job_with("training", {"microBatchSize": 5}), 5)],
    ids=["the batch", "the job's"],
)
def test_without_placement_the_micro_batch_is(
    tmp_path: Path, job: dict[str, Any], micro: int
) -> None:
    assert load_peer(environment(tmp_path, job)).micro_batch_size == micro


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        (env.PEER, ""),
        (env.PEER, "4"),
        (env.PEER, "-1"),
        (env.PEER, "٣"),
        (env.PEER, "9" * 5000),
        (env.PEER, "0000000000009"),
        (env.ATTEMPT, "one"),
        (env.MICRO_BATCH_SIZE, "0"),
        (env.MICRO_BATCH_SIZE, "33"),
        (env.HUB_URL, ""),
        (env.HUB_URL, "http://hub:8443"),
        (env.HUB_URL, "https://"),
    ],
)
def test_a_bad_variable_is_named(tmp_path: Path, variable: str, value: str) -> None:
    assert variable in refused(environment(tmp_path, **{variable: value}))


@pytest.mark.parametrize(
    ("job", "words"),
    [
        ("{", ["job.json is not JSON", "line 1"]),
        ("[" * 100_000, ["job.json is not JSON"]),
        ("\xff", ["job.json is not JSON"]),
        (" " * (2**21 + 1), ["larger than"]),
        ("[]", ["the job file", "valid dictionary"]),
    ],
    ids=["torn", "deep", "not ascii", "huge", "list"],
)
def test_a_broken_job_file_is_named(tmp_path: Path, job: str, words: list[str]) -> None:
    message = refused(environment(tmp_path, job))
    assert all(word in message for word in words)


def test_a_missing_job_file_is_named(tmp_path: Path) -> None:
    message = refused(environment(tmp_path, **{env.JOB_FILE: str(tmp_path / "none.json")}))
    assert "none.json cannot be read" in message
    assert env.JOB_FILE in message


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("method.type", "DecLora", ["method.type 'DecLora' is not known", "did you mean DecLoRA?"]),
        ("method.type", "XYZ", ["known are D2FT, DecLoRA, DropPEFT, FlexDeMo, SPSA"]),
        (
            "method.settings",
            {"localStep": 3},
            ["method.settings.localStep", "did you mean localSteps?"],
        ),
        (
            "method.settings",
            {"graph": "Edges", "edges": ["0-1", "2-3"]},
            ["method.settings.edges: do not connect peer 2", "add an edge"],
        ),
        ("method.settings", {"learningRate": 0.1}, ["method.settings.learningRate", "0.1"]),
        ("training.batchSize", 0, ["training.batchSize", "greater than or equal to 1", "not 0"]),
        ("training.batchsize", 8, ["training.batchsize", "did you mean batchSize?"]),
        ("adapter.lora.rnk", 8, ["adapter.lora.rnk", "did you mean rank?"]),
        ("dataset.partition.type", "Dirichle", ["dataset.partition.type", "'Dirichlet'"]),
        ("model.uri", "ftp://x/y", ["model.uri", "'ftp://x/y'"]),
        ("secret", 1, ["secret is not a known field"]),
        ("model.task", None, ["model.task"]),
        ("minPeers", 5, ["minPeers is 5", "4 of numPeers"]),
        ("training", {"batchSize": 4, "microBatchSize": 8}, ["training.microBatchSize is 8"]),
        ("adapter.lora.dropout", "1", ["adapter.lora.dropout"]),
        (
            "model",
            {"uri": "s3://b/m", "revision": "v1", "task": "CausalLM"},
            ["model.revision", "hf://"],
        ),
        ("dataset.format", "Text", ["dataset.format Text", "SequenceClassification"]),
        ("dataset.partition", {"alpha": "0.3"}, ["dataset.partition.alpha", "Dirichlet"]),
        ("dataset.partition", {"type": "Dirichlet", "alpha": "0"}, ["alpha must be more than 0"]),
        ("dataset.partition", {"shardsPerPeer": 3}, ["dataset.partition.shardsPerPeer", "Shards"]),
        ("dataset.partition", {"type": "ByColumn"}, ["dataset.partition.column is missing"]),
        ("dataset.partition", {"type": "Sizes"}, ["sizes has 0 entries for 4 peers"]),
        ("dataset.partition", {"type": "Sizes", "sizes": [1, 2]}, ["2 entries for 4 peers"]),
    ],
)
def test_a_bad_field_is_named_with_what_to_change(
    tmp_path: Path, path: str, value: Any, words: list[str]
) -> None:
    message = refused(environment(tmp_path, job_with(path, value)))
    assert [word for word in words if word not in message] == []


@pytest.mark.parametrize("partition", ["Dirichlet", "Shards"])
def test_language_models_have_no_classes_to_skew(tmp_path: Path, partition: str) -> None:
    job = job_with("dataset.partition", {"type": partition})
    job["model"]["task"] = "CausalLM"
    assert f"dataset.partition {partition} needs classes" in refused(environment(tmp_path, job))


@pytest.mark.parametrize(
    ("task", "dataset", "word"),
    [
        (
            "SequenceClassification",
            {"prompt": {"template": "{text}"}},
            "is for CausalLM and MaskedLM",
        ),
        ("CausalLM", {"prompt": {"template": "It was"}}, "must hold {text} once"),
        (
            "CausalLM",
            {"prompt": {"template": "{text} {answer}"}},
            "holds {answer} once for MaskedLM",
        ),
        ("MaskedLM", {"prompt": {"template": "{text}"}}, "holds {answer} once for MaskedLM"),
        ("CausalLM", {"promptColumn": "q"}, "go together"),
        ("MaskedLM", {"promptColumn": "q", "completionColumn": "a"}, "is for CausalLM"),
        ("CausalLM", {"format": "Text", "prompt": {"template": "{text}"}}, "has no labels"),
        (
            "CausalLM",
            {"format": "Text", "promptColumn": "q", "completionColumn": "a"},
            "promptColumn needs columns",
        ),
    ],
)
def test_prompts_and_completions_are_for_some_tasks(
    tmp_path: Path, task: str, dataset: dict[str, Any], word: str
) -> None:
    job = job_with("model.task", task)
    if "prompt" in dataset:
        dataset["prompt"]["verbalisers"] = {"good": " great", "bad": " bad"}
    job["dataset"] |= dataset
    assert word in refused(environment(tmp_path, job))


def test_all_weights_have_no_settings_of_lora(tmp_path: Path) -> None:
    job = job_with("adapter", {"type": "Full", "lora": {}})
    assert "adapter.lora belongs to type LoRA, not Full" in refused(environment(tmp_path, job))


def test_four_bits_are_for_frozen_models(tmp_path: Path) -> None:
    job = job_with("model.quantization", "NF4")
    assert load_peer(environment(tmp_path, job)).job.model.quantization == "NF4"
    whole = job | {"adapter": {"type": "Full"}}
    assert "model.quantization is for adapter.type LoRA" in refused(environment(tmp_path, whole))
    parts = job | {"method": {"type": "FlexDeMo", "settings": {"sharding": "ZeRO1"}}}
    assert "does not go with sharding ZeRO1" in refused(environment(tmp_path, parts))


def test_forward_passes_share_frozen_weights_out(tmp_path: Path) -> None:
    job = job_with("method", {"type": "SPSA", "settings": {"sharding": "ZeRO3"}})
    assert load_peer(environment(tmp_path, job)).card.shards
    whole = job | {"adapter": {"type": "Full"}}
    assert "adapter.type is Full, but sharding" in refused(environment(tmp_path, whole))


def test_plain_text_has_one_column(tmp_path: Path) -> None:
    job = job_with("dataset.format", "Text")
    job["model"]["task"] = "MaskedLM"
    assert load_peer(environment(tmp_path, job)).job == load_hub(environment(tmp_path, job)).job
    job["dataset"]["textColumn"] = "body"
    assert "dataset.textColumn" in refused(environment(tmp_path, job))
    job["dataset"] |= {"textColumn": "text", "partition": {"type": "ByColumn", "column": "who"}}
    assert "ByColumn" in refused(environment(tmp_path, job))


def test_many_faults_are_counted(tmp_path: Path) -> None:
    message = refused(environment(tmp_path, {}))
    assert message.startswith("run is missing; add it; job is missing")
    assert message.endswith("more)")


def test_a_huge_value_does_not_make_a_huge_message(tmp_path: Path) -> None:
    assert len(refused(environment(tmp_path, job_with("numPeers", "x" * 10_000)))) < 300
