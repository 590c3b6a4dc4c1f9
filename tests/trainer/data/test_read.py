"""Files to samples; what is broken is named by file and line."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from haversack_trainer.contract.spec import DatasetSpec, Task
from haversack_trainer.data import DataError, Samples, read

TEXT, IMAGE, SPEAK = Task.SEQUENCE_CLASSIFICATION, Task.IMAGE_CLASSIFICATION, Task.CAUSAL_LM


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def lines(*rows: Any) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def reading(path: Path, task: Task = TEXT, classes: Any = None, **dataset: Any) -> Samples:
    spec = DatasetSpec.model_validate({"uri": f"file://{path}", **dataset})
    return read(spec, path, task, classes)


GOOD = lines({"text": "one", "label": 10}, {"text": "two", "label": 9}, {"text": "3", "label": 9})


def test_classes_are_sorted_as_strings(tmp_path: Path) -> None:
    samples = reading(write(tmp_path / "train.jsonl", GOOD))
    assert samples.inputs == ("one", "two", "3")
    assert samples.classes == ("10", "9")
    assert samples.labels is not None
    assert samples.labels.tolist() == [0, 1, 1]


def test_formats_with_the_same_rows_read_the_same(tmp_path: Path) -> None:
    jsonl = reading(write(tmp_path / "a.jsonl", "\ufeff" + GOOD.replace("\n", "\r\n\n")))
    csv = reading(write(tmp_path / "a.csv", "label,text\n10,one\n9,two\n9,3\n"), format="CSV")
    assert jsonl.digest == csv.digest
    text = reading(write(tmp_path / "a.txt", "one\n\n  \ntwo\n3"), SPEAK, format="Text")
    spoken = reading(tmp_path / "a.jsonl", SPEAK)
    assert text.digest == spoken.digest
    assert text.labels is None


def test_csv_keeps_quoted_newlines_and_commas(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", 'text,label\n"a, b\nc",x\nd,y\n')
    assert reading(path, format="CSV").inputs == ("a, b\nc", "d")


def test_a_folder_is_read_in_order_of_names(tmp_path: Path) -> None:
    write(tmp_path / "b/2.jsonl", lines({"text": "two", "label": "x"}))
    write(tmp_path / "a/1.jsonl", lines({"text": "one", "label": "y"}))
    write(tmp_path / "README.md", "no data")
    assert reading(tmp_path).inputs == ("one", "two")


def test_columns_have_the_names_of_the_job(tmp_path: Path) -> None:
    rows = lines({"body": "one", "kind": "x", "who": 1}, {"body": "two", "kind": "y", "who": 2})
    samples = reading(
        write(tmp_path / "a.jsonl", rows),
        textColumn="body",
        labelColumn="kind",
        partition={"type": "ByColumn", "column": "who"},
    )
    assert samples.groups == ("1", "2")


def test_images_are_numbers_flat_or_nested(tmp_path: Path) -> None:
    rows = lines({"text": [1, 2, 3, 4], "label": 0}, {"text": [[1, 2], [3, 4]], "label": 1})
    flat, plane = reading(write(tmp_path / "a.jsonl", rows), IMAGE).inputs
    assert (flat.shape, plane.shape) == ((4,), (2, 2))
    assert plane.dtype == np.float32
    cell = reading(
        write(tmp_path / "a.csv", 'text,label\n"[1,2]",a\n"[3,4]",b\n'), IMAGE, format="CSV"
    )
    assert cell.inputs[1].tolist() == [3.0, 4.0]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", GOOD + '{"text": "x"', "a.jsonl, line 4 is not JSON"),
        ("a.jsonl", GOOD + "[1]\n", "a.jsonl, line 4 must be one JSON object"),
        ("a.jsonl", GOOD.encode() + b'{"text": "\xff"}\n', "a.jsonl, line 4 is not UTF-8"),
        ("a.jsonl", GOOD + "[" * 100_000, "a.jsonl, line 4 is not JSON"),
        ("a.jsonl", lines({"txt": "one", "label": 1}), "line 1 has no column 'text'.*'txt'"),
        ("a.jsonl", lines({"text": "one"}), "line 1 has no column 'label'"),
        ("a.jsonl", lines({"text": None, "label": 1}), "line 1 has no column 'text'"),
        ("a.jsonl", lines({"text": " ", "label": 1}), "line 1: column 'text' must be a text"),
        ("a.jsonl", lines({"text": ["x"], "label": 1}), "line 1: column 'text' must be a text"),
        (
            "a.jsonl",
            GOOD + lines({"text": "x", "label": " "}),
            "line 4: .*'label' must name a class",
        ),
        ("a.jsonl", lines({"text": "x", "label": {}}), "line 1: column 'label' must name a class"),
        ("a.jsonl", lines({"text": "x", "label": "only"}), "one class 'only' in all 1 samples"),
        ("a.jsonl", "\n\n", "a.jsonl holds no samples"),
        ("a.csv", "text,label\nx,1\ny\n", "a.csv, line 3 has 1 fields, the header 2"),
        ("a.csv", 'text,label\n"x,1\n', "a.csv, line 2 is not CSV"),
        ("a.csv", "text,label\n", "a.csv holds no samples"),
    ],
)
def test_what_is_broken_is_named(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    with pytest.raises(DataError, match=message) as caught:
        reading(write(tmp_path / name, content), format="CSV" if "csv" in name else "JSONL")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("pixels", ["no numbers", [[1, 2], [3]], [], 7, [1, None], [1e400]])
def test_an_image_that_is_none_is_named(tmp_path: Path, pixels: Any) -> None:
    path = write(tmp_path / "a.jsonl", lines({"text": pixels, "label": "a"}))
    with pytest.raises(DataError, match=r"a.jsonl, line 1: column 'text' must"):
        reading(path, IMAGE)


def test_a_held_out_file_has_the_classes_of_the_training_data(tmp_path: Path) -> None:
    path = write(
        tmp_path / "judge.jsonl", lines({"text": "x", "label": 9}, {"text": "y", "label": 8})
    )
    with pytest.raises(
        DataError, match=r"judge.jsonl, line 2: class '8' is not in the training data"
    ):
        reading(path, classes=("10", "9"))
    known = reading(path, classes=("10", "8", "9"))
    assert known.labels is not None
    assert known.labels.tolist() == [2, 1]


def test_a_folder_without_such_files_says_which_it_wanted(tmp_path: Path) -> None:
    write(tmp_path / "a.csv", "text\n")
    with pytest.raises(DataError, match=r"no file named \*.jsonl or"):
        reading(tmp_path)


def test_a_file_that_is_a_missing_link_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").symlink_to(tmp_path / "gone")
    with pytest.raises(DataError, match=r"a.jsonl cannot be read: No such file"):
        reading(tmp_path / "a.jsonl")


def test_a_datasets_folder_is_read_or_its_extra_is_named(tmp_path: Path) -> None:
    """With the extra its rows are read; without it the message says how to get it."""
    if importlib.util.find_spec("datasets") is None:
        with pytest.raises(DataError, match=r"pip install 'haversack\[data\]'"):
            reading(tmp_path, format="Folder")
        return
    import datasets

    rows = {"text": ["one", "two"], "label": ["a", "b"]}
    datasets.Dataset.from_dict(rows).save_to_disk(str(tmp_path / "plain"))
    parts = datasets.DatasetDict({"train": datasets.Dataset.from_dict(rows)})
    parts.save_to_disk(str(tmp_path / "parts"))
    assert reading(tmp_path / "plain", format="Folder").inputs == ("one", "two")
    assert reading(tmp_path / "parts", format="Folder").classes == ("a", "b")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"was not written by datasets.save_to_disk"):
        reading(tmp_path / "empty", format="Folder")


WORDS = {"9": " nine", "10": " ten"}
PROMPT = {"template": "{text} It is", "verbalisers": WORDS}


def test_a_prompt_makes_a_language_models_samples_labelled(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", GOOD)
    assert reading(path, SPEAK, prompt=PROMPT).digest == reading(path).digest


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            {"9": " nine", "8": " eight"},
            "class '10' of column 'label' has no word in dataset.prompt",
        ),
        ({**WORDS, "8": " eight"}, "has a word for '8', which no sample has"),
    ],
)
def test_words_and_classes_belong_together(
    tmp_path: Path, words: dict[str, str], message: str
) -> None:
    path = write(tmp_path / "a.jsonl", GOOD)
    with pytest.raises(DataError, match=message):
        reading(path, SPEAK, prompt={"template": "{text}", "verbalisers": words})


def test_a_held_out_set_may_lack_a_class_but_not_add_one(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", lines({"text": "one", "label": 9}))
    held_out = reading(path, SPEAK, ("10", "9"), prompt=PROMPT)
    assert held_out.labels is not None
    assert held_out.labels.tolist() == [1]
    with pytest.raises(DataError, match="class '9' is not in the training data"):
        reading(path, SPEAK, ("10", "8"), prompt=PROMPT)


def test_prompts_stay_together_and_completions_tell_data_apart(tmp_path: Path) -> None:
    columns = {"promptColumn": "q", "completionColumn": "a"}
    rows = [{"q": "one", "a": "1"}, {"q": "one", "a": "un"}, {"q": "two", "a": "2"}]
    samples = reading(write(tmp_path / "a.jsonl", lines(*rows)), SPEAK, **columns)
    first, second, third = samples.input_keys
    assert first == second != third
    assert samples.labels is None
    rows[1]["a"] = "uno"
    other = reading(write(tmp_path / "b.jsonl", lines(*rows)), SPEAK, **columns)
    assert other.digest != samples.digest
    broken = write(tmp_path / "c.jsonl", lines({"q": "one", "a": " "}))
    with pytest.raises(DataError, match=r"c.jsonl, line 1: column 'a' must be a text"):
        reading(broken, SPEAK, **columns)
