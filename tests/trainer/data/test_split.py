"""Who trains on what: the same on every machine, disjoint, complete, none held out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haversack_trainer.contract.spec import DatasetSpec
from haversack_trainer.data import DataError, Samples, Split, split

PARTITIONS: list[dict[str, Any]] = [
    {"type": "IID"},
    {"type": "Dirichlet", "alpha": "0.5"},
    {"type": "Shards", "shardsPerPeer": 2},
    {"type": "ByColumn", "column": "author"},
    {"type": "Sizes"},
]


def spec(partition: dict[str, Any], num_peers: int, **held_out: Any) -> DatasetSpec:
    if partition["type"] == "Sizes":
        partition = partition | {"sizes": [1 + peer for peer in range(num_peers)]}
    return DatasetSpec.model_validate(
        {"uri": "file:///d", "partition": partition, "heldOut": held_out or {"percent": 20}}
    )


def corpus(count: int, classes: int = 3, distinct: int | None = None, prefix: str = "t") -> Samples:
    """``count`` samples with ``distinct`` different texts; 20 authors in turn."""
    labels = np.arange(count) % (distinct or count) % classes
    texts = tuple(f"{prefix}{i % (distinct or count)}" for i in range(count))
    names = tuple(f"c{i}" for i in range(classes))
    return Samples(texts, names, labels, tuple(f"author {i % 20:02}" for i in range(count)))


def judged_texts(result: Split) -> set[str]:
    return set(result.held_out.inputs)


@settings(max_examples=60, deadline=None)
@given(
    partition=st.sampled_from(PARTITIONS),
    num_peers=st.integers(1, 5),
    shape=st.tuples(st.integers(120, 400), st.integers(60, 400)),
    percent=st.integers(5, 50),
)
def test_parts_are_disjoint_whole_and_never_judged(
    partition: dict[str, Any],
    num_peers: int,
    shape: tuple[int, int],
    percent: int,
) -> None:
    count, distinct = shape
    samples = corpus(count, distinct=min(distinct, count))
    wanted = spec(partition, num_peers, percent=percent)
    result = split(samples, wanted, num_peers, seed=count)
    dealt = np.concatenate(result.parts)
    assert len(result.parts) == num_peers
    assert all(len(part) and (np.diff(part) > 0).all() for part in result.parts)
    assert len(set(dealt)) == len(dealt) == len(samples) - len(result.held_out)
    assert judged_texts(result).isdisjoint(samples.inputs[i] for i in dealt)
    assert abs(len(result.held_out) - count * percent / 100) <= 2 * 3
    again = split(samples, wanted, num_peers, seed=count)
    assert again.digest == result.digest
    assert all(map(np.array_equal, again.parts, result.parts))


@pytest.mark.parametrize("partition", PARTITIONS, ids=lambda partition: partition["type"])
def test_another_seed_or_text_is_another_digest(partition: dict[str, Any]) -> None:
    wanted = spec(partition, 4)
    digests = {
        split(corpus(200), wanted, 4, seed=1).digest,
        split(corpus(200), wanted, 4, seed=2).digest,
        split(corpus(200, prefix="u"), wanted, 4, seed=1).digest,
        split(corpus(200), wanted, 3, seed=1).digest
        if partition["type"] != "Sizes"
        else split(corpus(200), spec({"type": "IID"}, 4), 4, seed=1).digest,
    }
    assert len(digests) == 4


def shares(result: Split, samples: Samples) -> np.ndarray[Any, Any]:
    """``[peer, class]`` counts."""
    assert samples.labels is not None
    return np.array([np.bincount(samples.labels[p], minlength=3) for p in result.parts])


def test_a_small_alpha_skews_and_a_large_one_does_not() -> None:
    samples = corpus(3000)

    def largest_share(alpha: str) -> float:
        result = split(samples, spec({"type": "Dirichlet", "alpha": alpha}, 4), 4, seed=3)
        counts = shares(result, samples)
        assert counts.sum(1).min() >= 10
        return float((counts.max(1) / counts.sum(1)).mean())

    assert largest_share("0.1") > 0.6
    assert largest_share("1000") < 0.4


def test_shards_give_each_peer_few_classes() -> None:
    samples = corpus(3000)
    result = split(samples, spec({"type": "Shards", "shardsPerPeer": 1}, 3), 3, seed=3)
    assert ((shares(result, samples) > 0).sum(1) == 1).all()


def test_an_author_stays_with_one_peer() -> None:
    samples = corpus(400)
    result = split(samples, spec({"type": "ByColumn", "column": "author"}, 4), 4, seed=3)
    assert samples.groups is not None
    authors = [{samples.groups[i] for i in part} for part in result.parts]
    assert sum(map(len, authors)) == len(set.union(*authors)) == 20
    assert max(map(len, result.parts)) - min(map(len, result.parts)) <= 20


def test_sizes_are_proportions() -> None:
    result = split(corpus(1000), spec({"type": "Sizes"}, 4, percent=20), 4, seed=3)
    assert [len(part) for part in result.parts] == [80, 160, 240, 320]


def test_held_out_samples_keep_the_classes_shares_and_the_limit() -> None:
    labels = np.repeat([0, 1], [900, 100])
    samples = Samples(tuple(map(str, range(1000))), ("many", "few"), labels)
    result = split(samples, spec({"type": "IID"}, 2, percent=30), 2, seed=1)
    assert result.held_out.labels is not None
    assert np.bincount(result.held_out.labels).tolist() == [270, 30]
    capped = split(samples, spec({"type": "IID"}, 2, percent=30, maxSamples=50), 2, seed=1)
    assert len(capped.held_out) == 50
    assert len(capped.training) == 950


def test_a_class_with_one_sample_is_trained_not_judged() -> None:
    samples = corpus(100, classes=2)
    assert samples.labels is not None
    rare = Samples((*samples.inputs, "rare"), ("c0", "c1", "c2"), np.append(samples.labels, 2))
    result = split(rare, spec({"type": "IID"}, 2, percent=50), 2, seed=1)
    assert "rare" not in judged_texts(result)
    assert 100 in result.training


def test_a_held_out_set_of_its_own_leaves_all_samples_for_training() -> None:
    samples, judged = corpus(100), corpus(60, prefix="other ")
    result = split(samples, spec({"type": "IID"}, 2, maxSamples=40), 2, 1, judged)
    assert len(result.training) == 100
    assert len(result.held_out) == 40
    assert judged_texts(result) <= set(judged.inputs)


def test_a_held_out_set_that_overlaps_is_refused_by_sample() -> None:
    samples, judged = corpus(100), corpus(60, prefix="other ")
    assert judged.labels is not None
    leaky = Samples((*judged.inputs, "t7"), judged.classes, np.append(judged.labels, 7 % 3))
    with pytest.raises(DataError, match=r"overlaps.* 1 of 61.* sample 61 is training sample 8;"):
        split(samples, spec({"type": "IID"}, 2), 2, 1, leaky)


def test_a_held_out_text_with_another_class_overlaps_all_the_same() -> None:
    samples, judged = corpus(100), corpus(60, prefix="other ")
    assert judged.labels is not None
    leaky = Samples((*judged.inputs, "t7"), judged.classes, np.append(judged.labels, 8 % 3))
    with pytest.raises(DataError, match="overlaps"):
        split(samples, spec({"type": "IID"}, 2), 2, 1, leaky)


def test_a_text_with_two_classes_is_not_both_learnt_and_judged() -> None:
    texts = tuple(f"t{i // 2}" for i in range(80))
    labels = np.append(np.arange(80) % 2, [1] * 6)
    mixed = Samples((*texts, *"uvwxyz"), ("a", "b"), labels)
    result = split(mixed, spec({"type": "IID"}, 2, percent=50), 2, seed=1)
    learnt = {mixed.inputs[i] for i in result.training}
    assert len(result.held_out) > 20
    assert not learnt & judged_texts(result)


@pytest.mark.parametrize(
    ("samples", "partition", "num_peers", "message"),
    [
        (corpus(1), {"type": "IID"}, 1, "1 samples leave 0 to judge by"),
        (corpus(12), {"type": "IID"}, 11, "10 training samples .* over 11 peers"),
        (corpus(30), {"type": "Shards", "shardsPerPeer": 9}, 3, "shardsPerPeer"),
        (corpus(400), {"type": "ByColumn", "column": "author"}, 21, "'author' has 20 values"),
        (corpus(40), {"type": "Sizes", "sizes": [1, 10_000]}, 2, "sizes leave a peer without"),
        (corpus(60), {"type": "Dirichlet", "alpha": "0.001"}, 8, "alpha 0.001"),
    ],
    ids=["one sample", "few", "shards", "column", "sizes", "dirichlet"],
)
def test_what_cannot_be_split_says_why(
    samples: Samples, partition: dict[str, Any], num_peers: int, message: str
) -> None:
    wanted = DatasetSpec.model_validate({"uri": "file:///d", "partition": partition})
    with pytest.raises(DataError, match=message):
        split(samples, wanted, num_peers, 1)


def test_a_class_that_only_the_held_out_set_has_is_refused() -> None:
    samples = Samples(corpus(90, classes=2).inputs, ("c0", "c1", "c2"), np.arange(90) % 2)
    judged = corpus(30, prefix="other ")
    with pytest.raises(DataError, match="class 'c2' has no training sample"):
        split(samples, spec({"type": "IID"}, 2), 2, 1, judged)


@settings(max_examples=40, deadline=None)
@given(
    partition=st.sampled_from(PARTITIONS),
    num_peers=st.integers(1, 5),
    # Enough that is in no other part, and enough of it, that nobody is left without.
    distinct=st.integers(350, 400),
    percent=st.integers(20, 50),
)
def test_a_peer_is_scored_by_what_nobody_trains_on(
    partition: dict[str, Any], num_peers: int, distinct: int, percent: int
) -> None:
    samples = corpus(400, distinct=distinct)
    plain = split(samples, spec(partition, num_peers), num_peers, seed=percent)
    asked = spec(partition, num_peers, percent=20, personalPercent=percent)
    result = split(samples, asked, num_peers, seed=percent)
    assert result.digest != plain.digest
    assert result.held_out.inputs == plain.held_out.inputs
    trained = {samples.inputs[i] for i in result.training}
    for part, own, before in zip(result.parts, result.personal, plain.parts, strict=True):
        assert np.array_equal(np.union1d(part, own), before)
        assert 0 < len(own) <= percent / 100 * len(before)
        assert not {samples.inputs[i] for i in own} & (trained | judged_texts(result))


def test_nothing_of_its_own_to_score_by_is_refused() -> None:
    wanted = spec({"type": "IID"}, 3, percent=20, personalPercent=10)
    with pytest.raises(
        DataError, match="personalPercent 10 leaves peer 0 nothing of its 8 samples"
    ):
        split(corpus(30), wanted, 3, seed=1)
