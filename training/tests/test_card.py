"""The card's figures replace what stands between its marks, and nothing else."""

import pytest
from tilescout_train import card
from tilescout_train.errors import DataError


def figures() -> dict:
    """What export writes, made small."""
    top = {"1": 0.5, "3": 0.75, "5": 0.9, "10": 1.0}
    found = {f"{way}@{k}": k / 100 for way in ("i2t", "t2i") for k in (1, 5, 10)}
    return {
        "n": 40, "topk": top, "float_topk": top, "int8_cosine": 0.9996,
        "retrieval": {**found, "mR": 0.053},
        "calibration": {
            "ece": 0.04, "auroc_max": 0.9, "auroc_top3": 0.91, "match_rate_present": 0.8,
            "match_rate_absent": 0.06, "macro_f1": 0.7, "f1_threshold": 0.4,
        },
        "classes": {
            "port": {"n": 10, "top1": 1.0, "ap": 0.9, "confused": ""},
            "park": {"n": 10, "top1": 0.2, "ap": 0.3, "confused": "port"},
        },
    }


def test_block_has_all_figures_weakest_class_first() -> None:
    block = card.figures_block(
        figures(), {"port": "port", "park": "park"}, [("sea", 4, 0.25)], "7–8"
    )
    assert "0.500 [0.352, 0.648]" in block
    assert "mR 5.3" in block
    assert block.index("| park |") < block.index("| port |")
    assert "| sea | 4 | 0.250 |" in block
    assert "seeds 7–8" in block


def test_write_keeps_what_is_by_hand(tmp_path) -> None:
    path = tmp_path / "README.md"
    path.write_text(f"above\n{card.BEGIN}\nold\n{card.END}\nbelow\n", encoding="utf-8")
    card.write(path, "new")
    text = path.read_text(encoding="utf-8")
    assert text == f"above\n{card.BEGIN}\n\nnew\n\n{card.END}\nbelow\n"


def test_write_needs_its_marks(tmp_path) -> None:
    path = tmp_path / "README.md"
    path.write_text("no marks\n", encoding="utf-8")
    with pytest.raises(DataError, match="needs one line"):
        card.write(path, "new")
