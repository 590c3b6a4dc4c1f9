from __future__ import annotations

import pytest

from haversack_trainer.blocks import Op, OpTable

FULL, FORWARD, SKIP = Op.FULL, Op.FORWARD, Op.SKIP


def test_dropped_layers_become_skips() -> None:
    table = OpTable.dropping([[False, True, False], [True, True, False]])
    assert (table.num_layers, table.num_groups, table.num_micro_batches) == (3, 1, 2)
    assert table.layers(0) == (FULL, SKIP, FULL)
    assert table.layers(1) == (SKIP, SKIP, FULL)
    assert (table.count(FULL), table.count(FORWARD), table.count(SKIP)) == (3, 0, 3)


def test_a_layer_has_one_operation_only_where_its_groups_agree() -> None:
    table = OpTable((((FULL, SKIP), (FULL, FORWARD)),))
    assert table.layers(0) == (FULL,)
    with pytest.raises(ValueError, match="groups differ"):
        table.layers(1)


@pytest.mark.parametrize(
    "ops", [(), (((FULL,),), ((FULL,), (FULL,))), (((FULL,), (FULL, FULL)),), ((),)], ids=str
)
def test_a_ragged_table_is_refused(ops: tuple[tuple[tuple[Op, ...], ...], ...]) -> None:
    with pytest.raises(ValueError, match="every layer needs the same groups"):
        OpTable(ops)
