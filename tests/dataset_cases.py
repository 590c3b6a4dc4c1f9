"""Cases of prompts and completions, for the same two judges as ``job_cases``."""

from __future__ import annotations

from typing import Final

from job_cases import Case

_PART: Final = "spec.dataset.partition"
_SPEAKER: Final = {"spec.model.task": "CausalLM"}
_MASKED: Final = {"spec.model.task": "MaskedLM"}
_DATA: Final = {"uri": "s3://corpus/support"}
_PAIRS: Final = {"promptColumn": "question", "completionColumn": "answer"}
_PROMPT: Final = {"template": "{text} It was", "verbalisers": {"good": " great", "bad": " bad"}}

DATASET_CASES: Final = (
    Case(
        "a prompt is for language models",
        {**_SPEAKER, "spec.dataset.prompt": _PROMPT},
        {"spec.dataset.prompt": _PROMPT},
        "dataset.prompt: goes with model.task",
    ),
    Case(
        "a template without the text",
        {**_SPEAKER, "spec.dataset.prompt": _PROMPT},
        {**_SPEAKER, "spec.dataset.prompt": {**_PROMPT, "template": "It was"}},
        "template: must hold {text} once",
    ),
    Case(
        "a template with the text twice",
        {**_SPEAKER, "spec.dataset.prompt": _PROMPT},
        {**_SPEAKER, "spec.dataset.prompt": {**_PROMPT, "template": "{text} {text} It was"}},
        "template: must hold {text} once",
    ),
    Case(
        "a masked model's prompt has a place for the answer",
        {**_MASKED, "spec.dataset.prompt": {**_PROMPT, "template": "{text} It was {answer}."}},
        {**_MASKED, "spec.dataset.prompt": _PROMPT},
        "dataset.prompt.template: {answer} stands for the mask",
    ),
    Case(
        "a causal model's answer follows",
        {**_SPEAKER, "spec.dataset.prompt": _PROMPT},
        {**_SPEAKER, "spec.dataset.prompt": {**_PROMPT, "template": "{text} It was {answer}"}},
        "dataset.prompt.template: {answer} stands for the mask",
    ),
    Case(
        "a prompt has labels to split by",
        {**_SPEAKER, f"{_PART}.type": "Dirichlet", "spec.dataset.prompt": _PROMPT},
        {**_SPEAKER, f"{_PART}.type": "Dirichlet"},
        "split by label",
    ),
    Case(
        "a prompt needs labels",
        {**_SPEAKER, "spec.dataset": {**_DATA, "prompt": _PROMPT}},
        {**_SPEAKER, "spec.dataset": {**_DATA, "prompt": _PROMPT, "format": "Text"}},
        "dataset.format: Text",
    ),
    Case(
        "a prompt's column without its completion's",
        {**_SPEAKER, "spec.dataset": {**_DATA, **_PAIRS}},
        {**_SPEAKER, "spec.dataset": {**_DATA, "promptColumn": "question"}},
        "promptColumn: goes with completionColumn",
    ),
    Case(
        "completions are for causal models",
        {**_SPEAKER, "spec.dataset": {**_DATA, **_PAIRS}},
        {**_MASKED, "spec.dataset": {**_DATA, **_PAIRS}},
        "dataset.promptColumn: goes with model.task CausalLM",
    ),
    Case(
        "completions have no classes",
        {**_SPEAKER, "spec.dataset": {**_DATA, **_PAIRS}},
        {**_SPEAKER, "spec.dataset": {**_DATA, **_PAIRS, "prompt": _PROMPT}},
        "dataset.promptColumn: goes with model.task CausalLM",
    ),
    Case(
        "completions have columns",
        {**_SPEAKER, "spec.dataset": {**_DATA, **_PAIRS, "format": "CSV"}},
        {**_SPEAKER, "spec.dataset": {**_DATA, **_PAIRS, "format": "Text"}},
        "dataset.format: Text",
    ),
)
