"""``haversack replay``: which store a person means, and how it is reached."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml
from cli_jobs import a_job, a_kubectl, keep

from haversack_operator.cli import replay
from haversack_operator.cli.main import main
from haversack_operator.cli.words import InputError


def source(*arguments: str) -> tuple[str, dict[str, str], list[str]]:
    return replay._source(replay._parser().parse_args(arguments))


def test_an_address_is_taken_as_it_is() -> None:
    assert source("s3://bucket/x/mine", "--s3-endpoint", "http://s") == (
        "s3://bucket/x/mine",
        {},
        ["--s3-endpoint", "http://s"],
    )


def test_a_job_of_this_machine_by_name(tmp_path: Path) -> None:
    state = keep(tmp_path, a_job(storage={"uri": "file:///store/"}))
    assert source("mine", "--state-dir", str(state)) == ("file:///store/mine", {}, [])


def test_a_job_s_file_with_its_secret(tmp_path: Path) -> None:
    s3: dict[str, Any] = {"endpoint": "http://s3:9", "secretRef": {"name": "key"}}
    job = a_job(storage={"uri": "s3://bucket/x", "s3": s3})
    del job["status"]
    values = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "key"}, "data": data}
    path = tmp_path / "job.yaml"
    path.write_text(yaml.safe_dump_all([job, secret]))
    address, environment, options = source(str(path))
    assert (address, environment) == ("s3://bucket/x/mine", values)
    assert options == ["--s3-endpoint", "http://s3:9"]


def test_a_job_of_a_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a_kubectl(tmp_path, {"get finetunejobs": a_job(storage={"uri": "pvc://claim/x"})})
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(InputError, match="the log is in a claim of the cluster, at pvc://claim/x"):
        source("mine", "-n", "team")


@pytest.mark.parametrize("rounds", ["-1", "x", "1.5"])
def test_a_round_is_a_number(rounds: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["replay", "file:///nowhere", f"--to={rounds}"])
    assert "is no number of rounds" in capsys.readouterr().err
