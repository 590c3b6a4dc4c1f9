"""What `make generate` writes is what is committed."""

from __future__ import annotations

from pathlib import Path

import pytest

from haversack_operator.cli import generate

ROOT = Path(__file__).parents[2]
OUTPUTS = list(generate.outputs(ROOT))


@pytest.mark.parametrize(
    ("path", "text"), OUTPUTS, ids=[str(path.relative_to(ROOT)) for path, _ in OUTPUTS]
)
def test_generated_files_are_up_to_date(path: Path, text: str) -> None:
    assert path.read_text() == text, "run `make generate`"


def test_nothing_else_lies_among_the_generated_files() -> None:
    for folder in (generate.CRDS, generate.CHART_CRDS, generate.METHOD_DOCS):
        there = set((ROOT / folder).iterdir())
        assert there <= {path for path, _ in OUTPUTS}


def test_generate_writes_only_what_has_changed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "charts/haversack").mkdir(parents=True)
    (tmp_path / "charts/haversack/Chart.yaml").touch()
    arguments = ["--root", str(tmp_path)]
    assert generate.main(arguments) == 0
    assert f"wrote {tmp_path / 'crds'}" in capsys.readouterr().out
    assert generate.main(arguments) == 0
    assert capsys.readouterr().out == ""


def test_words_around_a_settings_table_are_kept(tmp_path: Path) -> None:
    page = tmp_path / generate.METHOD_DOCS / "spsa.md"
    page.parent.mkdir(parents=True)
    page.write_text(f"Before\n{generate.BEGIN}\nold\n{generate.END}\nAfter\n")
    text = dict(generate.outputs(tmp_path))[page]
    assert text.startswith("Before\n")
    assert text.endswith("\nAfter\n")
    assert "| `directions` | integer, 1 to 256 | `8` |" in text
    assert "\nold\n" not in text


def test_generate_elsewhere_says_where_it_belongs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert generate.main(["--root", str(tmp_path)]) == 2
    assert "is not Haversack's repository" in capsys.readouterr().out
