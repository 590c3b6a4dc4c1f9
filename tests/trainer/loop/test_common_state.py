"""A method's state that is equal on all peers lies with the run's checkpoints: SPSA's velocity."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from run_harness import Crew, PeerThread

from haversack_trainer.checkpoint.tensors import decode_state
from haversack_trainer.exchange.base import Stopped

SETTINGS = {"momentum": "0.9", "learningRate": "0.01", "directions": 2}


def has_come_to(peer: PeerThread, number: int) -> bool:
    return peer.round >= number


def end_of(crew: Crew) -> str:
    """Digest of the state that all who saw the end are in."""
    assert len(crew.survivors) == 2
    (digest,) = {peer.material.model.trainables_digest() for peer in crew.survivors}
    return digest


def test_a_run_with_momentum_resumes_as_if_nothing_had_happened(
    crew: Callable[..., Crew], tmp_path: Path
) -> None:
    whole = crew(settings=SETTINGS, storage={"uri": f"file://{tmp_path}/other"})
    whole.run()
    stopped = crew(settings=SETTINGS)
    for peer in stopped.peers.values():
        peer.stop = partial(has_come_to, peer, 3)
    stopped.run()
    assert [type(peer.error) for peer in stopped.peers.values()] == [Stopped] * 2
    resumed = crew(settings=SETTINGS)
    resumed.run()
    assert end_of(resumed) == end_of(whole)
    velocities = [
        decode_state(path.read_bytes())["velocity"]
        for path in (tmp_path / "store").rglob("common.safetensors")
    ]
    assert velocities
    assert all(velocity.norm() > 0 for velocity in velocities)
    # Nobody keeps it a second time for itself.
    assert not list((tmp_path / "store").rglob("method.safetensors"))
