"""FlexDeMo's arithmetic against others' or by hand: DiLoCo's outer step, clipping, scales, and what comes back."""

from __future__ import annotations

import pytest
import torch
from devices import CPU
from flexdemo_nodes import EXACT, Nodes, weights, with_scheme
from torch import nn
from toys import ToyBatches, ToyModel, ToyNetwork

from haversack_trainer.methods.flexdemo.choosing import scheme_of
from haversack_trainer.methods.flexdemo.method import FlexDeMo
from haversack_trainer.methods.flexdemo.options import Options
from haversack_trainer.methods.flexdemo.schemes import Bucket
from haversack_trainer.methods.flexdemo.settings import Scheme, Settings, Update, ValueType

SIZES = (70, 7)


def test_diloco_takes_the_outer_step_of_nesterov() -> None:
    options = with_scheme(Scheme.DILOCO, outer_learning_rate=0.7, outer_momentum=0.9)
    nodes = Nodes(options, SIZES, count=2)
    oracle = nn.Parameter(nodes.flat().double())
    sgd = torch.optim.SGD([oracle], lr=0.7, momentum=0.9, nesterov=True)
    for number in range(3):
        for node, own in enumerate(nodes.parameters):
            for inner in range(2):
                for parameter, gradient in zip(
                    own, weights(SIZES, 100 * number + 10 * node + inner), strict=True
                ):
                    parameter.grad = gradient
                assert nodes.optimizers[node].inner_step()
        reached = torch.stack([nodes.flat(0), nodes.flat(1)]).double().mean(0)
        oracle.grad = oracle.detach() - reached
        sgd.step()
        nodes.apply([optimizer.compress() for optimizer in nodes.optimizers])
        assert torch.allclose(nodes.flat().double(), oracle.detach(), atol=1e-5, rtol=0)


def moved(**settings: str) -> float:
    """How far one step along the gradient itself goes."""
    chosen = Settings(
        scheme=Scheme.FULL,
        update=Update.IDENTITY,
        value_type=ValueType.FP32,
        learning_rate="1",
        **settings,
    )
    network, model = ToyNetwork(), ToyModel()
    method = FlexDeMo(chosen, 0, 17, model, ToyBatches(0))
    before = model.trainable_state()
    method.local_step(0)
    method.incoming(network.swap(network.close(0, {0: method.outgoing()}), 0))
    after = model.trainable_state()
    return float(torch.cat([(after[name] - before[name]).flatten() for name in before]).norm())


def test_gradients_are_clipped_to_the_norm_that_is_set() -> None:
    free = moved()
    assert moved(max_grad_norm="0.01") == pytest.approx(0.01, rel=1e-3)
    assert moved(max_grad_norm=f"{2 * free:.6f}") == pytest.approx(free), "it is small enough"


def test_what_only_pads_a_group_does_not_shrink_its_scale() -> None:
    part, n = scheme_of(Options(scheme=Scheme.FULL, value_type=ValueType.SIGN)), 70
    bucket, gradient = Bucket("0.0", 3, n, CPU), weights([n])[0]
    sent = part.encode(bucket, part.new_momentum(n, CPU), gradient)
    seen = part.decode(bucket, memoryview(sent.data))
    for group in (slice(0, 64), slice(64, 70)):
        expected = gradient[group].sign() * gradient[group].abs().mean()
        assert torch.allclose(seen[group], expected, rtol=0.01), "but for BF16"


@pytest.mark.parametrize("rate", [0.2, 1.0])
@pytest.mark.parametrize("value_type", list(ValueType))
@pytest.mark.parametrize("scheme", [Scheme.RANDOM, Scheme.STRIDING])
def test_what_was_not_counted_goes_back(scheme: Scheme, value_type: ValueType, rate: float) -> None:
    options = with_scheme(scheme, EXACT, rate=rate, alpha=0.5, beta=1.0, value_type=value_type)
    part, n = scheme_of(options), 150
    momentum, gradient = part.new_momentum(n, CPU), weights([n])[0]
    bucket = Bucket("0.0", 3, n, CPU)
    sent = part.encode(bucket, momentum, gradient.clone())
    assert not torch.allclose(momentum, gradient)
    part.take_back(bucket, momentum, part.decode(bucket, memoryview(sent.data)))
    assert torch.allclose(momentum, gradient, atol=1e-6)
