"""Rows to samples: the columns that the job names, checked one by one."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from haversack_trainer.contract.prompt import PromptSpec
from haversack_trainer.contract.spec import DatasetSpec, PartitionType, Task, has_labels

from .rows import Row, rows
from .samples import DataError, Exchange, Pixels, Samples

MIN_CLASSES: Final = 2


def read(
    spec: DatasetSpec, path: Path, task: Task, classes: Sequence[str] | None = None
) -> Samples:
    """The samples at ``path``. Raises ``DataError``.

    ``classes`` are those of the training data, for a held-out set of its own: another one is an error.
    Without it the classes are the labels found, sorted as strings.
    """
    found = list(rows(spec.format, path))
    if not found:
        raise DataError(f"{path} holds no samples; correct dataset.uri or dataset.format")
    inputs = tuple(_input(row, spec, task) for row in found)
    samples = Samples(inputs, groups=_groups(spec, found, is_training=classes is None))
    return _labelled(samples, spec, found, classes) if has_labels(task, spec) else samples


def _input(row: Row, spec: DatasetSpec, task: Task) -> Any:
    if task is Task.IMAGE_CLASSIFICATION:
        return _pixels(row, spec.text_column)
    if spec.prompt_column is not None and spec.completion_column is not None:
        return Exchange(_text(row, spec.prompt_column), _text(row, spec.completion_column))
    return _text(row, spec.text_column)


def _labelled(
    samples: Samples, spec: DatasetSpec, found: Sequence[Row], known: Sequence[str] | None
) -> Samples:
    names = [_name(row, spec.label_column) for row in found]
    classes = tuple(known or sorted(set(names)))
    if len(classes) < MIN_CLASSES:
        raise DataError(
            f"column {spec.label_column!r} has the one class {classes[0]!r} in all {len(names)} samples; "
            "a classifier needs two or more"
        )
    if spec.prompt is not None and known is None:
        _check_words(spec.prompt, spec.label_column, classes)
    number = {name: i for i, name in enumerate(classes)}
    for row, name in zip(found, names, strict=True):
        if name not in number:
            raise DataError(f"{row.place}: class {name!r} is not in the training data")
    labels = np.array([number[name] for name in names], np.int64)
    return Samples(samples.inputs, classes, labels, samples.groups)


def _check_words(prompt: PromptSpec, column: str, classes: Sequence[str]) -> None:
    """Each class has a word, and each word a class."""
    if wordless := sorted(set(classes) - prompt.verbalisers.keys()):
        raise DataError(
            f"class {wordless[0]!r} of column {column!r} has no word in dataset.prompt.verbalisers; add one"
        )
    if unused := sorted(prompt.verbalisers.keys() - set(classes)):
        raise DataError(
            f"dataset.prompt.verbalisers has a word for {unused[0]!r}, which no sample has in column "
            f"{column!r}; remove it or correct the data"
        )


def _groups(
    spec: DatasetSpec, found: Sequence[Row], *, is_training: bool
) -> tuple[str, ...] | None:
    column = spec.partition.column
    if spec.partition.type is not PartitionType.BY_COLUMN or column is None or not is_training:
        return None
    return tuple(_name(row, column) for row in found)


def _value(row: Row, column: str) -> Any:
    value = row.values.get(column)
    if value is None:
        have = ", ".join(map(repr, row.values)) or "none"
        raise DataError(
            f"{row.place} has no column {column!r} (it has {have}); correct it or the job"
        )
    return value


def _text(row: Row, column: str) -> str:
    value = _value(row, column)
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{row.place}: column {column!r} must be a text, not {value!r:.40}")
    return value


def _name(row: Row, column: str) -> str:
    value = _value(row, column)
    name = str(value).strip() if isinstance(value, str | int | float) else ""
    if not name:
        raise DataError(f"{row.place}: column {column!r} must name a class, not {value!r:.40}")
    return name


def _pixels(row: Row, column: str) -> Pixels:
    value = _value(row, column)
    try:
        pixels = np.array(json.loads(value) if isinstance(value, str) else value, np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"{row.place}: column {column!r} must hold an image's numbers") from error
    if pixels.ndim == 0 or not pixels.size or not np.isfinite(pixels).all():
        raise DataError(f"{row.place}: column {column!r} must be a list of finite numbers")
    return pixels
