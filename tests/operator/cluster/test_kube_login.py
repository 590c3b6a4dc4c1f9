"""Whom we are, when the kubeconfig will not do: one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from haversack_operator.cluster.base import ClusterError
from haversack_operator.cluster.kube_login import login


@pytest.mark.parametrize("text", [None, "{{{", "[]", "kind: Config\ncurrent-context: none\n"])
def test_a_kubeconfig_that_cannot_be_read_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    path = tmp_path / "kubeconfig"
    if text is not None:
        path.write_text(text)
    monkeypatch.setenv("KUBECONFIG", str(path))
    with pytest.raises(ClusterError, match="set KUBECONFIG") as refused:
        login()
    assert len(str(refused.value).splitlines()) == 1
