"""A run whose store is a real S3 server, made again from its archive there."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import run_harness
import torch
from run_harness import Crew, Memory, has_come_to
from s3server import S3Server, s3_server
from safetensors.torch import load_file

from haversack_trainer.checkpoint.replay import CannotReplay
from haversack_trainer.main.replay import Order, replay


@pytest.fixture
def server(tmp_path: Path) -> Iterator[S3Server]:
    (tmp_path / "s3").mkdir()
    with s3_server(tmp_path / "s3") as running:
        yield running


def test_a_resumed_run_is_made_again_from_s3(tmp_path: Path, server: S3Server) -> None:
    model = run_harness.a_model(tmp_path / "model")
    data = run_harness.a_data_file(tmp_path / "train.jsonl")
    address = f"s3://{server.bucket}/runs"
    storage = {"uri": address, "s3": server.spec.model_dump(by_alias=True, exclude_none=True)}
    training = {"rounds": 4, "batchSize": 4, "seed": 17}
    job = run_harness.a_job(
        model, data, tmp_path, "SPSA", storage=storage, training=training, numPeers=2
    )
    for stops in (True, False):
        crew = Crew(Memory(), job, tmp_path, environ=server.environ)
        for peer in (0, 1):
            thread = crew.add(peer)
            if stops:
                thread.stop = partial(has_come_to, thread, 2)
        crew.run()
    said: list[str] = []
    order = Order(f"{address}/job", output=tmp_path / "again", s3=server.spec)
    digest = replay(order, server.environ, said.append)
    assert said[-2] == f"the same adapter as was published after round 4: sha256 {digest}"
    again = load_file(tmp_path / "again" / "adapter_model.safetensors")
    live = crew.peers[0].material.model
    assert digest == live.trainables_digest()
    assert all(torch.isfinite(weights).all() for weights in again.values())
    keys = [it["Key"] for it in server.client().list_objects_v2(Bucket=server.bucket)["Contents"]]
    segment = next(key for key in keys if key.endswith(".log"))
    body = bytearray(server.client().get_object(Bucket=server.bucket, Key=segment)["Body"].read())
    body[-1] ^= 1
    server.client().put_object(Bucket=server.bucket, Key=segment, Body=bytes(body))
    with pytest.raises(CannotReplay, match="is damaged: its bytes are not those of the log"):
        replay(order, server.environ, said.append)
