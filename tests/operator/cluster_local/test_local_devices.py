"""Peers of one machine share its devices out as a device plug-in would."""

from __future__ import annotations

from typing import Any

import pytest

from haversack_operator.cluster.local_devices import VISIBLE, LocalDevices, of_this_machine


def a_pod(devices: int, kind: str = "nvidia.com/gpu") -> dict[str, Any]:
    limits = {"memory": "2Gi", **({kind: str(devices)} if devices else {})}
    return {
        "metadata": {"name": "one"},
        "spec": {"containers": [{"name": "trainer", "resources": {"limits": limits}}]},
    }


def test_each_peer_gets_a_device_of_its_own() -> None:
    devices = LocalDevices(("0", "1", "2"))
    assert devices.take("a", a_pod(1)) == {VISIBLE: "0"}
    assert devices.take("b", a_pod(2, "amd.com/gpu")) == {VISIBLE: "1,2"}


def test_what_a_pod_held_is_given_out_again() -> None:
    devices = LocalDevices(("0", "1"))
    devices.take("a", a_pod(1))
    devices.take("b", a_pod(1))
    devices.give_back("b")
    assert devices.take("c", a_pod(1)) == {VISIBLE: "1"}


def test_a_pretended_inventory_shares_what_there_is() -> None:
    devices = LocalDevices(("0",))
    assert [devices.take(name, a_pod(1)) for name in "ab"] == [{VISIBLE: "0"}] * 2


def test_who_asks_for_none_sees_none() -> None:
    assert LocalDevices(("0",)).take("a", a_pod(0)) == {VISIBLE: ""}


def test_without_devices_nothing_is_said() -> None:
    assert LocalDevices(()).take("a", a_pod(1)) == {}


@pytest.mark.parametrize(
    ("chosen", "seen"), [("3, 5", {VISIBLE: "3"}), ("GPU-8a,GPU-9b", {VISIBLE: "GPU-8a"})]
)
def test_the_users_own_choice_counts(chosen: str, seen: dict[str, str]) -> None:
    assert of_this_machine({VISIBLE: chosen}).take("a", a_pod(1)) == seen


def test_a_user_who_hides_all_devices_gets_none() -> None:
    assert of_this_machine({VISIBLE: ""}).take("a", a_pod(1)) == {}
