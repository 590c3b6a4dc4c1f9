"""Classification by the words that a language model would say, and completions by their own tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch
from torch.nn.functional import cross_entropy

from haversack_trainer.data import Samples
from haversack_trainer.data.samples import Exchange
from haversack_trainer.model import FineTuned, ModelError, load_model

LABELS = ("parsing", "paths")
FIRST = np.arange(6)
WORDS = {"parsing": " parse", "paths": " path"}
CAUSAL = {"template": "doc: {text} about", "verbalisers": WORDS}
MASKED = {"template": "{text} about {answer}.", "verbalisers": WORDS}


def load(
    path: Path, task: str, prompt: dict[str, Any], max_length: int = 24, **changes: Any
) -> FineTuned:
    dataset = {"uri": "file:///none", "maxLength": max_length, "prompt": prompt}
    job = tiny_models.job(path, task, dataset=dataset, **changes)
    model = load_model(job, path, LABELS)
    model.train(False)
    return model


def two_models(bert: Path, llama: Path) -> list[FineTuned]:
    return [load(llama, "CausalLM", CAUSAL), load(bert, "MaskedLM", MASKED)]


def test_the_loss_is_among_the_label_words_only(bert: Path, llama: Path) -> None:
    for model in two_models(bert, llama):
        inner: Any = model
        samples = tiny_models.texts().take([0, 1, len(tiny_models.texts()) - 1])
        losses, hits = model.losses(model.encode(samples, np.arange(3)))
        tokenizer = inner._head.tokenizer
        words = [tokenizer(word, add_special_tokens=False).input_ids[0] for word in WORDS.values()]
        assert samples.labels is not None
        for row in range(3):
            one = model.encode(samples, np.array([row]))
            ids, mask = one.tensors["input_ids"], one.tensors["attention_mask"]
            at = -1
            if tokenizer.mask_token_id in ids:
                at = ids[0].tolist().index(tokenizer.mask_token_id)
            logits = inner._model(input_ids=ids, attention_mask=mask).logits[0, at, words]
            label = torch.tensor(int(samples.labels[row]))
            torch.testing.assert_close(losses[row], cross_entropy(logits, label))
            assert hits is not None
            assert bool(hits[row]) == (int(logits.argmax()) == int(label))


def test_a_prompt_is_learnt_without_a_new_head(bert: Path, llama: Path) -> None:
    whole = {"type": "Full"}
    models = (
        load(llama, "CausalLM", CAUSAL, adapter=whole),
        load(bert, "MaskedLM", MASKED, adapter=whole),
    )
    for model in models:
        assert not model.head_is_new
        batch = model.encode(tiny_models.texts(), np.array([0, 1, 2, -1, -2, -3]))
        first = float(model.loss(batch).detach())
        optimizer = torch.optim.AdamW([p for _, p in model.trainables()], lr=0.01)
        for _ in range(12):
            optimizer.zero_grad()
            model.loss(batch).backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
            optimizer.step()
        assert float(model.loss(batch).detach()) < 0.8 * first


def test_a_long_text_is_cut_and_the_template_is_not(bert: Path, llama: Path) -> None:
    long = Samples(("parse the arguments " * 40, "short"), LABELS, np.array([0, 1]))
    for model in two_models(bert, llama):
        inner: Any = model
        ids = model.encode(long, np.arange(2)).tensors["input_ids"][0].tolist()
        assert 20 <= len(ids) <= 24
        said = inner._head.tokenizer.decode(ids)
        assert "about" in said
        assert "argument" in said
    with pytest.raises(
        ModelError, match=r"template alone takes \d+ tokens, dataset.maxLength is 6"
    ):
        load(llama, "CausalLM", {**CAUSAL, "template": "one two three four {text}"}, max_length=6)


def test_a_text_with_a_mask_of_its_own_is_asked_at_the_templates(bert: Path) -> None:
    samples = Samples(("a [MASK] and a [MASK]", "plain"), LABELS, np.array([0, 1]))
    for template in ("{answer}: {text}", "{text} is {answer}"):
        model = load(bert, "MaskedLM", {**MASKED, "template": template})
        inner: Any = model
        batch = model.encode(samples, np.array([0]))
        masks = (batch.tensors["input_ids"][0] == inner._head.tokenizer.mask_token_id).nonzero()
        place = (batch.tensors["labels"][0] != -100).nonzero()
        assert int(place) == int(masks[0] if template.startswith("{answer}") else masks[-1])


@pytest.mark.parametrize(
    ("verbalisers", "message"),
    [
        ({"parsing": " path", "paths": " path"}, "' path' and ' path' start with the same token"),
        ({"parsing": " path", "paths": "\u200b"}, "is no word of its own after the template"),
        ({"parsing": " path", "paths": "ath"}, "'ath' is no word of its own after the template"),
        ({"parsing": " path", "paths": " \u00e7"}, "does not know ' \u00e7'"),
    ],
)
def test_words_that_cannot_be_told_apart_are_refused(
    llama: Path, verbalisers: dict[str, str], message: str
) -> None:
    prompt = {"template": "{text} p", "verbalisers": verbalisers}
    with pytest.raises(ModelError, match=message) as caught:
        load(llama, "CausalLM", prompt)
    assert "\n" not in str(caught.value)


def test_who_uses_the_result_finds_the_prompt_beside_it(llama: Path, tmp_path: Path) -> None:
    for kind in ("LoRA", "Full"):
        folder = tmp_path / kind
        model = load(llama, "CausalLM", CAUSAL, adapter={"type": kind})
        model.save_adapter(folder)
        assert json.loads((folder / "prompt.json").read_text()) == CAUSAL
        with model.with_adapter(folder):
            pass


def test_only_the_completion_counts(llama: Path) -> None:
    dataset = {"uri": "file:///none", "promptColumn": "q", "completionColumn": "a", "maxLength": 16}
    model = load_model(tiny_models.job(llama, "CausalLM", dataset=dataset), llama, ())
    inner: Any = model
    tokenizer = inner._head.tokenizer
    samples = Samples((Exchange("parse the", "path and file"), Exchange("a", "b")))
    labels = model.encode(samples, np.arange(2)).tensors["labels"]
    said = tokenizer("path and file", add_special_tokens=False).input_ids
    asked = tokenizer("parse the", add_special_tokens=False).input_ids
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    assert labels[0].tolist() == [-100] * len(asked) + said + end
    losses, hits = model.losses(model.encode(samples, np.array([0])))
    assert hits is None
    ids = torch.tensor([asked + said + end], device=model.device)
    logits = inner._model(input_ids=ids).logits[0, len(asked) - 1 : -1]
    expected = cross_entropy(logits, ids[0, len(asked) :])
    torch.testing.assert_close(losses[0], expected)


def test_long_completions_keep_half_of_the_room_and_the_prompts_end(llama: Path) -> None:
    dataset = {"uri": "file:///none", "promptColumn": "q", "completionColumn": "a", "maxLength": 8}
    model = load_model(tiny_models.job(llama, "CausalLM", dataset=dataset), llama, ())
    inner: Any = model
    parse = inner._head.tokenizer("parse", add_special_tokens=False).input_ids
    long, short = Exchange("path " * 9 + "parse", "parse " * 9), Exchange("path " * 9, "parse")
    batch = model.encode(Samples((long, short)), np.arange(2))
    counted = (batch.tensors["labels"] != -100).sum(1).tolist()
    length = batch.tensors["attention_mask"].sum(1).tolist()
    assert length == [8, 8]
    assert counted[0] == 4
    assert counted[1] < 4
    assert batch.tensors["input_ids"][0, 3] == parse[-1]
