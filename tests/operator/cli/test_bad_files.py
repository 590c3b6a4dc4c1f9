"""Files that will not do, through the commands themselves: one sentence, exit code 2, at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from haversack_operator.cli.main import COMMANDS, main

JOB: dict[str, Any] = {
    "apiVersion": "haversack.dev/v1alpha1",
    "kind": "FineTuneJob",
    "metadata": {"name": "mine"},
    "spec": {
        "model": {"uri": "file:///m", "task": "SequenceClassification"},
        "dataset": {"uri": "file:///d.jsonl"},
        "method": {"type": "SPSA"},
        "training": {"rounds": 64},
        "pools": [{"name": "cpu"}],
        "storage": {"uri": "file:///out"},
    },
}
TEXT = yaml.safe_dump(JOB)
LAUGHS = "z: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"z{n}: &a{n} [{','.join([f'*a{n - 1}' if n > 1 else '*a'] * 9)}]\n" for n in range(1, 9)
)


def rounds(value: str) -> str:
    return TEXT.replace("rounds: 64", f"rounds: {value}")


def with_metadata(**metadata: Any) -> str:
    return yaml.safe_dump({**JOB, "metadata": {"name": "mine", **metadata}})


def with_secret(**secret: Any) -> str:
    return f"{TEXT}---\n{yaml.safe_dump({'kind': 'Secret', **secret})}"


NAMED = {"metadata": {"name": "s3"}}
CASES = {
    "a day that is not": (rounds("2024-13-45"), "'2024-13-45' cannot be read"),
    "a day": (rounds("2024-12-05"), "put the value in quotes"),
    "5,000 digits": (rounds("9" * 5000), "cannot be read"),
    "400 digits": (rounds("9" * 400), "is too large a number"),
    "hexadecimal": (rounds("0x" + "f" * 9000), "is too large a number"),
    "int tag": (rounds("!!int abc"), "'abc' cannot be read; put it in quotes, line 18"),
    "float tag": (rounds("!!float abc"), "'abc' cannot be read"),
    "bool tag": (rounds("!!bool abc"), "'abc' cannot be read"),
    "a program": (rounds("!!python/object/apply:os.system [id]"), "could not determine"),
    "deep": ("[" * 100_000, "nested more than 64 deep, line 1"),
    "deep objects": ("{a:" * 3000, "nested more than 64 deep"),
    "a loop": (
        TEXT.replace("spec:\n", "spec: &a\n  extra: *a\n", 1),
        "an anchor or alias, a; write the value out, line 5",
    ),
    "billion laughs": (TEXT + LAUGHS, "an anchor or alias, a"),
    "many values": ("[" + "x," * 60_000 + "]", "too many values"),
    "large": ("# " + "x" * 2**22, "is over 2 MiB"),
    "no text": ('a: "b\\0c"', "a character that no text may have"),
    "half a character": (rounds('"\\ud800"'), "a character that no text may have"),
    "a control character": ("a: \x07", "has the character '\\x07'"),
    "an object as a key": ("? {a: b}\n: c\n", "found unhashable key"),
    "Secret: null": (with_secret(metadata=None), "Secret: metadata: must be an object"),
    "Secret: list": (with_secret(metadata=["a"]), "Secret: metadata: must be an object"),
    "Secret: none": (with_secret(), "Secret: metadata: must be an object"),
    "Secret: no name": (with_secret(metadata={}), "Secret: metadata.name"),
    "Secret: data": (with_secret(**NAMED, data={"A": "é"}), "Secret: data.A: is not base64"),
    "Secret: list of data": (with_secret(**NAMED, data=["A"]), "Secret: data: must be an object"),
    "Secret: a number": (with_secret(**NAMED, stringData={"A": 5}), "Secret: stringData.A: must"),
    "annotations": (with_metadata(annotations=["x"]), "metadata.annotations: must be an object"),
    "an annotation": (with_metadata(annotations={"x": 5}), "metadata.annotations.x: must be"),
    "labels": (with_metadata(labels="x"), "metadata.labels: must be an object"),
    "a label's key": (with_metadata(labels={"a b": "x"}), "metadata.labels: 'a b' is no key"),
    "namespace": (with_metadata(namespace="../../x"), "metadata.namespace: write"),
    "a number as namespace": (with_metadata(namespace=5), "metadata.namespace: write"),
}


@pytest.mark.parametrize("command", ["plan", "run"])
@pytest.mark.parametrize(("text", "said"), CASES.values(), ids=CASES)
def test_a_bad_job_file_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, text: str, said: str
) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(text)
    state = ["--state-dir", str(tmp_path / "state")] if command == "run" else []
    assert main([command, str(file), *state]) == 2
    told = capsys.readouterr()
    assert told.err.startswith(f"haversack {command}: {file}")
    assert said in told.err
    assert len(told.err.splitlines()) == 1
    assert told.out == ""
    assert not (tmp_path / "state").exists()


NODES = {
    "a day that is not": ("nodes:\n- {name: 2024-13-45}", "cannot be read"),
    "deep": ("[" * 50_000, "nested more than 64 deep"),
    "billion laughs": (LAUGHS, "an anchor or alias"),
    "many CPUs": (
        "nodes: [{name: a, cpu: 99999999999999999999, memory: 1Gi}]",
        "is too large a number",
    ),
    "large number": (
        "nodes: [{name: a, cpu: 9999999999999999, memory: 1Gi}]",
        "nodes[0].cpu: is more than a node can have: 9999999999999999",
    ),
    "much memory": (
        "nodes: [{name: a, cpu: 1, memory: 9999Ei}]",
        "nodes[0].memory: is more than a node can have: 9999Ei",
    ),
    "a whole node": (
        "{kind: Node, metadata: {name: n}, status: {allocatable: {cpu: 1, memory: 9999Ei}}}",
        "this.status.allocatable: has more than a node can have",
    ),
}


@pytest.mark.parametrize(("text", "said"), NODES.values(), ids=NODES)
def test_a_bad_inventory_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    job, nodes = tmp_path / "job.yaml", tmp_path / "nodes.yaml"
    job.write_text(TEXT)
    nodes.write_text(text)
    assert main(["plan", str(job), "--nodes", str(nodes)]) == 2
    told = capsys.readouterr().err
    assert told.startswith(f"haversack plan: {nodes}")
    assert said in told
    assert len(told.splitlines()) == 1


@pytest.mark.parametrize("path", ["/nowhere", "a\0b", "/dev/null", "/"])
def test_a_path_that_is_no_file_is_one_sentence(
    capsys: pytest.CaptureFixture[str], path: str
) -> None:
    assert main(["plan", path]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_what_nobody_foresaw_is_one_sentence_and_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setitem(COMMANDS, "no_such_module", "fails")
    assert main(["no_such_module"]) == 1
    told = capsys.readouterr().err
    (written,) = tmp_path.iterdir()
    assert told.startswith("haversack no_such_module: this is a fault of Haversack's (ModuleNot")
    assert str(written) in told
    assert len(told.splitlines()) == 1
    assert "Traceback" in written.read_text()


def test_no_command_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    told = capsys.readouterr().out
    assert all(f"\n  {name} " in told for name in COMMANDS)


def test_a_reader_that_has_seen_enough_is_no_fault(tmp_path: Path) -> None:
    job = tmp_path / "job.yaml"
    job.write_text(TEXT)
    reader, writer = os.pipe()
    os.close(reader)
    program = f"from haversack_operator.cli.main import main; raise SystemExit(main(['plan', {str(job)!r}]))"
    done = subprocess.run(
        [sys.executable, "-c", program], stdout=writer, stderr=subprocess.PIPE, check=False
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")
