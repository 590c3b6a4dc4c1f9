"""Another framework beside ours: its own virtual environment, the same task in files, and the CPU time of all its
processes.

The environments are in the user's cache, made by pip from exact versions the first time; torch, transformers
and peft they have from the environment that runs this.
"""

from __future__ import annotations

import ctypes
import json
import os
import shlex
import signal
import subprocess
import sys
import sysconfig
import time
import venv
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from bench.kept import CACHE
from bench.together import LEARNING_RATE, LORA_ALPHA, MAX_LENGTH, Stage
from examples.demo import minilm

ROOT: Final = Path(__file__).parents[1]
SUBREAPER: Final = 36
"""PR_SET_CHILD_SUBREAPER of <linux/prctl.h>: orphans below this process become its children."""


Spent = Sequence[tuple[float, float]]
"""Moments, as ``time.time`` has them, and CPU-seconds spent by then."""


class Process(NamedTuple):
    """Numbers come again, but not with the same start."""

    pid: int
    start_ticks: int


class NoRival(SystemExit):
    """It could not be installed; says what to do."""


def python_of(*requirements: str, options: Sequence[str] = (), cache: Path = CACHE) -> Path:
    """Of an environment with ``requirements``, the first of which names its folder. Raises ``NoRival``."""
    folder = cache / requirements[0].replace("==", "-").replace("[", "-").replace("]", "")
    python, done = folder / "bin/python", folder / "whole"
    if not done.exists():
        venv.create(folder, clear=True)
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python)]
        command = [*pip, "install", "-q", *options, *requirements]
        if subprocess.call(command):
            raise NoRival(
                f"{requirements[0]} could not be installed; once pip can reach its index, run again, or by hand: "
                f"{shlex.join(command)} && touch {done}"
            )
        done.touch()
    site = next(folder.glob("lib/python*/site-packages"))
    # Behind its own packages; where a checkout has gone, so has what was written for it.
    (site / "torch.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python


def export(stage: Stage, folder: Path) -> None:
    """The task as files: ``task.json``, ``peer-N.json`` and ``initial.safetensors``."""
    from safetensors.torch import save_file

    state = stage.model.trainable_state()
    save_file(state, folder / "initial.safetensors")
    task = {
        "model": str(minilm.folder()),
        "num_labels": len(stage.samples.classes),
        "max_length": MAX_LENGTH,
        "lora": lora_of(state, LORA_ALPHA),
        "learning_rate": float(LEARNING_RATE),
        "rounds": stage.scale.rounds,
        "local_steps": stage.scale.local_steps,
        "period": stage.scale.period,
        "peers": stage.scale.peers,
    }
    (folder / "task.json").write_text(json.dumps(task))
    for peer in range(stage.scale.peers):
        (folder / f"peer-{peer}.json").write_text(json.dumps(_data_of(stage, peer)))


def lora_of(state: Mapping[str, Any], alpha: int) -> dict[str, Any]:
    """Arguments for peft's ``LoraConfig`` that gives tensors of these names and shapes."""
    factors = {name: name.removesuffix(".lora_A.weight") for name in state if ".lora_A." in name}
    modules = {name.rpartition(".")[0] for name in state if ".lora_" not in name}
    return {
        "r": min(len(state[name]) for name in factors),
        "lora_alpha": alpha,
        "target_modules": sorted({module.rpartition(".")[2] for module in factors.values()}),
        "modules_to_save": sorted(name.removeprefix("base_model.model.") for name in modules),
    }


def _data_of(stage: Stage, peer: int) -> dict[str, Any]:
    from haversack_trainer.method import dropout_seed

    part = [int(n) for n in stage.parts.parts[peer]]
    place = {n: at for at, n in enumerate(part)}
    batches = stage.batches(peer)
    labels = stage.samples.labels
    assert labels is not None
    return {
        "texts": [stage.samples.inputs[n] for n in part],
        "labels": [int(labels[n]) for n in part],
        "steps": [
            {
                "samples": [place[int(n)] for n in batches.indices(step)],
                "dropout_seed": dropout_seed(stage.seed, peer, step),
            }
            for step in range(stage.scale.rounds * stage.scale.local_steps)
        ],
    }


def cpu_seconds_of(command: Sequence[str], environment: Mapping[str, str], log: Path) -> Spent:
    """CPU-seconds of a command and of all processes below it, as they grow. Those that outlive it are ended. Raises
    ``SystemExit`` with the end of its log if it fails.

    Not by ``wait``, which does not see whom nobody has waited for, as below Ray: by a look at all of them ten times
    a second, so of each process at most its last tenth is missing.
    """
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    whole = {**os.environ, **environment, "PYTHONPATH": str(ROOT)}
    # Imports of a process are read from its bytecode, as where it is installed for good.
    whole.pop("PYTHONDONTWRITEBYTECODE", None)
    others = frozenset(_children())
    seen: dict[Process, float] = {}
    spent: list[tuple[float, float]] = []
    with log.open("w") as output:
        running = subprocess.Popen(command, env=whole, stdout=output, stderr=subprocess.STDOUT)
        while running.poll() is None:
            seen |= below(os.getpid(), others)
            spent.append((time.time(), sum(seen.values())))
            time.sleep(0.1)
    # What has become a child of this process, and in turn what does by that.
    while orphans := [pid for pid in _children() if pid not in others]:
        for pid in orphans:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    if running.returncode:
        end = log.read_text()[-3000:]
        raise SystemExit(f"{shlex.join(command)}: exit code {running.returncode}\n{end}")
    return spent


def _children() -> list[int]:
    return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


def until(spent: Spent, moment: float) -> float:
    """CPU-seconds spent when it was so late."""
    return max((seconds for at, seconds in spent if at <= moment), default=0.0)


def below(ancestor: int, others: Collection[int] = ()) -> dict[Process, float]:
    """CPU-seconds so far of each process below it, without ``others`` and theirs."""
    found = dict(filter(None, (_stat(path) for path in Path("/proc").glob("[0-9]*/stat"))))
    known = {process.pid: parent for process, (parent, _) in found.items()}
    family = {ancestor}
    while (
        more := {pid for pid, parent in known.items() if parent in family and pid not in others}
        - family
    ):
        family |= more
    return {p: seconds for p, (_, seconds) in found.items() if p.pid in family - {ancestor}}


def _stat(path: Path) -> tuple[Process, tuple[int, float]] | None:
    """A process with its parent and CPU-seconds; None if it is gone."""
    try:
        pid, _, rest = path.read_text().partition(" ")
    except OSError:
        return None
    fields = rest.rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    return Process(int(pid), int(fields[19])), (int(fields[1]), ticks / os.sysconf("SC_CLK_TCK"))
