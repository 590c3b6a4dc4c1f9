"""A comparison with another framework is on the same task, and counts what all of its processes cost."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from bench import nvflare_ring, rival, versus
from bench.rivals.peer import Peer
from bench.together import DOCSTRINGS, LEARNING_RATE, Scale, Stage

from haversack_trainer.contract.cards import METHODS

SPENT = [(1.0, 2.0), (2.0, 8.0), (3.0, 9.0), (4.0, 20.0)]
BURN = "import time\nwhile time.process_time() < 0.3: pass\nprint(flush=True); input()"


@pytest.mark.parametrize(("moment", "seconds"), [(0.5, 0.0), (2.0, 8.0), (2.9, 8.0), (9.0, 20.0)])
def test_what_was_spent_by_a_moment(moment: float, seconds: float) -> None:
    assert rival.until(SPENT, moment) == seconds


def test_a_round_costs_what_its_steps_do_not() -> None:
    assert versus.costs(SPENT, [2.0, 3.0, 4.0], [5.0, 0.5, 8.0]) == {
        "local_cpu_seconds": 13.5,
        "start_cpu_seconds": 3.0,
        "beyond_cpu_seconds_a_round": (20.0 - 8.0 - 8.5) / 2,
        "all_cpu_seconds": 20.0,
    }


def test_children_and_theirs_are_counted_and_nobody_else() -> None:
    # Below a process of its own: the one that runs the tests may have other children.
    call = f"import subprocess, sys; subprocess.call([sys.executable, '-c', {BURN!r}])"
    family = f"""
from subprocess import PIPE, Popen
one = Popen([{sys.executable!r}, "-c", {call!r}], stdin=PIPE, stdout=PIPE)
other = Popen([{sys.executable!r}, "-c", "input()"], stdin=PIPE)
one.stdout.readline()
print(one.pid, other.pid, flush=True)
input()
one.communicate(b"\\n")
other.communicate(b"\\n")"""
    with subprocess.Popen(
        [sys.executable, "-c", family], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as above:
        assert above.stdout is not None
        one, other = (int(pid) for pid in above.stdout.readline().split())
        found = rival.below(above.pid, {other})
        above.communicate(b"\n")
    pids = {process.pid for process in found}
    assert one in pids
    assert len(pids - {one}) == 1
    assert other not in pids
    assert sum(found.values()) >= 0.28


def test_what_outlives_a_command_is_ended_and_its_failure_told(tmp_path: Path) -> None:
    left = "import subprocess as s; p = s.Popen(['sleep', '600'], start_new_session=True)"
    failing = f"{left}; open({str(tmp_path / 'pid')!r}, 'w').write(str(p.pid)); exit('no luck')"
    call = f"""
import sys
from pathlib import Path
from bench.rival import cpu_seconds_of
cpu_seconds_of([sys.executable, "-c", {failing!r}], {{}}, Path({str(tmp_path / "log")!r}))"""
    done = subprocess.run(
        [sys.executable, "-c", call],
        cwd=rival.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "exit code 1\nno luck" in done.stderr
    assert not Path("/proc", (tmp_path / "pid").read_text()).exists()


def test_an_environment_that_cannot_be_made_says_how_to(tmp_path: Path) -> None:
    with pytest.raises(rival.NoRival, match=r"absent==1 could not be installed; .*touch .*whole"):
        rival.python_of("absent==1", options=["--no-index"], cache=tmp_path)
    assert not (tmp_path / "absent-1/whole").exists()


@pytest.mark.parametrize("num_peers", [3, 6])
def test_a_ring_keeps_the_mean(num_peers: int) -> None:
    nodes = nvflare_ring.ring(num_peers)["nodes"]
    edges = {(node["id"], each["id"]) for node in nodes for each in node["neighbors"]}
    assert len(edges) == 2 * num_peers
    assert edges == {(there, here) for here, there in edges}
    assert {each["weight"] for node in nodes for each in node["neighbors"]} == {1 / 3}


def _odd_and_even(path: Path) -> None:
    texts = [(f"number {n} of {n % 5}", "odd" if n % 2 else "even") for n in range(60)]
    path.write_text("".join(json.dumps({"text": t, "label": label}) + "\n" for t, label in texts))


@pytest.fixture(scope="module")
def stage() -> Stage:
    task = replace(DOCSTRINGS, write=_odd_and_even)
    return Stage.of(Scale(2, 2, 1, 4, 1), 17, alpha="100", task=task)


@pytest.mark.parametrize(("method", "keeps_moments"), [("DropPEFT", False), ("DecLoRA", True)])
def test_a_peer_of_another_framework_takes_the_same_steps(
    stage: Stage, tmp_path: Path, method: str, keeps_moments: bool
) -> None:
    start = stage.model.trainable_state()
    rival.export(stage, tmp_path)
    theirs = Peer(tmp_path, 1, keeps_moments=keeps_moments)
    card = METHODS[method]
    options = {"DropPEFT": {"dropRate": "0"}, "DecLoRA": {}}[method]
    usual = {"localSteps": 1, "learningRate": LEARNING_RATE}
    settings = card.load_settings().model_validate({**usual, **options})
    ours = card.load_factory()(settings, 1, stage.seed, stage.model, stage.batches(1))
    try:
        for number in range(2):
            assert theirs.train(number) == 4
            ours.local_step(number)
        after = stage.model.trainable_state()
    finally:
        stage.model.load_trainable_state(start)
    assert any(not torch.equal(after[name], start[name]) for name in after)
    for name, values in theirs.state().items():
        torch.testing.assert_close(values, after[name], rtol=1e-4, atol=1e-6)


def test_ours_comes_to_the_same_over_a_hub_as_in_memory(stage: Stage) -> None:
    start = stage.model.trainable_state()
    try:
        found = versus.ours(stage, "DropPEFT", {"dropRate": "0"}, readers=1)
        stage.model.load_trainable_state(start)
        run = stage.run("DropPEFT", {"dropRate": "0"})
    finally:
        stage.model.load_trainable_state(start)
    assert found["loss"] == run["loss"]
    assert found["up_bytes"] * 2 == run["bytes_a_round"][0]
    assert found["down_bytes"] == found["up_bytes"]
