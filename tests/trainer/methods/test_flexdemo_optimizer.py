"""What an implementation of FlexDeMo must hold, whatever scheme it runs."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from devices import CPU, DEVICES
from flexdemo_nodes import EXACT, PER_STEP, Nodes, same_bits, weights, with_scheme
from torch import Tensor, nn

from haversack_trainer.methods.flexdemo.optimizer import FlexDemoOptimizer
from haversack_trainer.methods.flexdemo.options import Options
from haversack_trainer.methods.flexdemo.settings import MeanMode, Scheme, Update, ValueType

SIZES = (200, 7, 64, 1)
RULES = [*Update]
FIXED = [scheme for scheme in Scheme if scheme is not Scheme.AUTO]
"""Auto becomes one of them."""


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("value_type", list(ValueType))
@pytest.mark.parametrize("update", RULES)
@pytest.mark.parametrize("scheme", FIXED)
def test_replicas_stay_equal_on_different_data(
    scheme: Scheme, update: Update, value_type: ValueType, device: torch.device
) -> None:
    options = Options(scheme=scheme, update=update, value_type=value_type, weight_decay=0.1)
    here, there = (Nodes(options, SIZES, count=3, device=d) for d in (CPU, device))
    for number in range(4):
        gradients = [weights(SIZES, 10 * number + node) for node in range(3)]
        if scheme is Scheme.DILOCO:
            here.payloads(gradients)
            for optimizer in here.optimizers:
                assert optimizer.inner_step()
        payloads = here.step(gradients)
        there.apply(payloads)
    assert same_bits(here.flat(0), here.flat(1))
    assert same_bits(here.flat(0), here.flat(2))
    assert same_bits(here.flat(0), there.flat(0)), "another device rounds otherwise"
    assert not same_bits(here.flat(0), Nodes(options, SIZES).flat(0))


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("mean_mode", list(MeanMode))
@pytest.mark.parametrize("alpha", [0.0, 0.2, 0.5, 1.0])
def test_all_of_a_chunk_is_momentum_sgd(count: int, mean_mode: MeanMode, alpha: float) -> None:
    """With beta·(1 - alpha) as its momentum: everything that is sent leaves nothing to accumulate."""
    options = replace(
        EXACT, chunk=16, top_k=16, beta=0.9, alpha=alpha, mean_mode=mean_mode, weight_decay=0.0
    )
    nodes, oracle = Nodes(options, [70], count), nn.Parameter(weights([70])[0].double())
    sgd = torch.optim.SGD([oracle], lr=options.learning_rate, momentum=0.9 * (1 - alpha))
    for number in range(12):
        gradients = [weights([70], 100 * number + node) for node in range(count)]
        nodes.step(gradients)
        oracle.grad = torch.stack([own[0].double() for own in gradients]).mean(0)
        sgd.step()
    assert torch.allclose(nodes.flat().double(), oracle.detach(), atol=5e-6, rtol=0)


@pytest.mark.parametrize("scheme", [Scheme.RANDOM, Scheme.STRIDING])
def test_a_rate_of_one_is_full(scheme: Scheme) -> None:
    picked = Nodes(with_scheme(scheme, rate=1.0, alpha=1.0, beta=0.9), SIZES)
    full = Nodes(with_scheme(Scheme.FULL), SIZES)
    picked.random_steps(5)
    full.random_steps(5)
    assert same_bits(picked.flat(), full.flat())


@pytest.mark.parametrize("scheme", PER_STEP)
def test_relabelling_the_nodes_changes_nothing(scheme: Scheme) -> None:
    ours, theirs = (Nodes(with_scheme(scheme, rate=0.25), SIZES, count=4) for _ in range(2))
    for number in range(4):
        gradients = [weights(SIZES, 10 * number + node) for node in range(4)]
        payloads = ours.payloads(gradients)
        theirs.payloads(gradients)
        ours.apply(payloads)
        theirs.apply([payloads[n] for n in (2, 0, 3, 1)])
    assert same_bits(ours.flat(), theirs.flat())


@pytest.mark.parametrize("scheme", PER_STEP)
def test_alone_a_node_keeps_to_its_own_payload(scheme: Scheme) -> None:
    """What R = 1 gives is what any number of equal nodes gives."""
    options = with_scheme(scheme, value_type=ValueType.BF16)
    one, three = Nodes(options, SIZES, count=1), Nodes(options, SIZES, count=3)
    for number in range(4):
        gradients = weights(SIZES, number)
        one.step([gradients])
        three.step([gradients] * 3)
    assert same_bits(one.flat(), three.flat())


@pytest.mark.parametrize("num_shards", [2, 4])
def test_cutting_at_chunk_borders_changes_nothing(num_shards: int) -> None:
    """A node's processes each compress their own part."""
    whole, cut = Nodes(EXACT, [512]), Nodes(EXACT, [512 // num_shards] * num_shards)
    start = whole.flat()
    for own in cut.parameters:
        for parameter, part in zip(own, start.chunk(num_shards), strict=True):
            parameter.data.copy_(part)
    for number in range(4):
        gradients = [weights([512], 10 * number + node)[0] for node in range(2)]
        whole.step([[g] for g in gradients])
        cut.step([list(g.chunk(num_shards)) for g in gradients])
    assert torch.allclose(whole.flat(), cut.flat(), atol=1e-6)


@pytest.mark.parametrize("scheme", FIXED)
def test_going_on_from_a_saved_state_gives_the_same_bits(scheme: Scheme) -> None:
    options = Options(scheme=scheme, update=Update.ADAMW)
    straight, stopped = Nodes(options, SIZES), Nodes(options, SIZES)
    straight.random_steps(3)
    stopped.random_steps(3)
    resumed = Nodes(options, SIZES)
    for node in range(2):
        resumed.optimizers[node].load_state_dict(stopped.optimizers[node].state_dict())
        for to, of in zip(resumed.parameters[node], stopped.parameters[node], strict=True):
            to.data.copy_(of.data)
    straight.random_steps(3, seed=2)
    resumed.random_steps(3, seed=2)
    assert same_bits(straight.flat(), resumed.flat())


@pytest.mark.parametrize("scheme", FIXED)
def test_a_newcomer_goes_on_with_the_others_state(scheme: Scheme) -> None:
    options = Options(scheme=scheme, update=Update.ADAMW)
    nodes, newcomer = Nodes(options, SIZES), Nodes(options, SIZES, count=1)
    nodes.random_steps(3)
    newcomer.optimizers[0].load_shared_state(nodes.optimizers[1].shared_state())
    states = newcomer.optimizers[0].state.values()
    assert not any("momentum" in state for state in states), "it starts at zero"
    payloads = nodes.step([weights(SIZES, 5), weights(SIZES, 6)])
    newcomer.apply(payloads)
    assert same_bits(newcomer.flat(), nodes.flat())


def test_a_gradient_that_is_not_there_is_zero() -> None:
    given, missing = Nodes(EXACT, [64, 8]), Nodes(EXACT, [64, 8])
    for number in range(3):
        own = weights([64], number)[0]
        given.step([[own, torch.zeros(8)]] * 2)
        missing.step([[own, None]] * 2)
    assert same_bits(given.flat(), missing.flat())


@pytest.mark.parametrize("scheme", PER_STEP)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_touches_nothing(scheme: Scheme, bad: float) -> None:
    nodes = Nodes(with_scheme(scheme), SIZES)
    nodes.random_steps(2)
    before = nodes.momentum(1)
    poisoned = weights(SIZES, 4)
    poisoned[1][3] = bad
    payloads = nodes.payloads([weights(SIZES, 3), poisoned])
    assert payloads[1] == b""
    assert all(torch.equal(a, b) for a, b in zip(before, nodes.momentum(1), strict=True))
    nodes.apply(payloads)
    assert same_bits(nodes.flat(0), nodes.flat(1))
    assert torch.isfinite(nodes.flat()).all()


def test_payloads_that_are_unusable_do_not_count() -> None:
    nodes = Nodes(EXACT, SIZES)
    sound, other = nodes.payloads([weights(SIZES, 1), weights(SIZES, 2)])
    start = nodes.flat()
    infinite = bytearray(sound)
    infinite[12:16] = b"\x00\x00\x80\x7f"
    for bad in (b"", b"junk", sound[:-1], sound + b"\0", bytes(12) + sound[12:], bytes(infinite)):
        assert nodes.optimizers[0].apply([bad]) == 0
    assert same_bits(nodes.flat(), start)
    assert nodes.optimizers[0].apply([sound, b"junk", other]) == 2


def test_a_held_gradient_goes_out_later() -> None:
    held, twice = (Nodes(replace(EXACT, beta=1.0), [64], count=1) for _ in range(2))
    first, second = weights([64], 1)[0], weights([64], 2)[0]
    held.parameters[0][0].grad = first
    assert held.optimizers[0].compress(hold=True) == b""
    held.step([[second]])
    twice.step([[first + second]])
    assert torch.allclose(held.flat(), twice.flat(), atol=1e-6)


@pytest.mark.parametrize("scheme", FIXED)
def test_step_is_the_two_halves_and_an_exchange(scheme: Scheme) -> None:
    """As DeepSpeed calls it: some tensor, a gradient, step()."""
    options = with_scheme(scheme, sync_every=2)
    whole, halves = nn.Parameter(weights([100])[0]), Nodes(options, [100], count=1)
    rounds: list[bytes] = []

    def alone(payload: bytes) -> list[bytes]:
        rounds.append(payload)
        return [payload]

    optimizer = FlexDemoOptimizer([whole], options, alone)
    for number in range(4):
        gradient = weights([100], number)[0]
        whole.grad = gradient
        optimizer.step()
        halves.parameters[0][0].grad = gradient
        if scheme is Scheme.DILOCO:
            halves.optimizers[0].inner_step()
        if scheme is not Scheme.DILOCO or number % 2:
            halves.apply([halves.optimizers[0].compress()])
    assert len(rounds) == (2 if scheme is Scheme.DILOCO else 4)
    assert same_bits(whole.detach(), halves.flat())


def test_groups_that_are_passed_one_at_a_time_pick_as_if_together() -> None:
    """ZeRO swaps ``param_groups`` for one group before each call."""
    options = with_scheme(Scheme.RANDOM, rate=0.1)
    together, apart = Nodes(options, [90, 90], count=1), Nodes(options, [90, 90], count=1)
    for number in range(3):
        gradients: list[Tensor | None] = [*weights([90, 90], number)]
        together.step([gradients])
        optimizer = apart.optimizers[0]
        groups = optimizer.param_groups
        for parameter, gradient, group in zip(apart.parameters[0], gradients, groups, strict=True):
            parameter.grad = gradient
            optimizer.param_groups = [group]
            optimizer.apply([optimizer.compress()])
        optimizer.param_groups = groups
    assert same_bits(together.flat(), apart.flat())


def test_a_sixteenth_learns_as_well_as_all_of_it_and_not_without_the_subtraction() -> None:
    """A quadratic with noise of each node's own, against momentum and sign in full, at equal steps."""
    size, target = 128, weights([128], 7)[0]
    generator = torch.Generator().manual_seed(5)

    def loss(options: Options) -> float:
        nodes = Nodes(replace(options, learning_rate=0.03, beta=0.9), [size])
        for _ in range(200):
            nodes.step(
                [
                    [own[0].detach() - target + torch.randn(size, generator=generator)]
                    for own in nodes.parameters
                ]
            )
        return float((nodes.flat() - target).square().mean())

    full = loss(Options(scheme=Scheme.RANDOM, rate=1.0, alpha=0.0))
    sixteenth = loss(Options())
    assert sixteenth < 1.05 * full
    assert loss(Options(alpha=0.0, top_k=1)) > 1.5 * sixteenth
