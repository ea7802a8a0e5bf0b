"""What map tiles suffer is drawn as often as asked, and leaves the others alone."""

import torch
from tilescout_train import data


def pictures(n: int = 64, size: int = 32) -> torch.Tensor:
    """Grey pictures with a little texture."""
    g = torch.Generator().manual_seed(1)
    return 100 + 20 * torch.rand((n, 3, size, size), generator=g)


def changed(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    return (before != after).flatten(1).any(1)


def test_nothing_happens_at_probability_zero() -> None:
    g = torch.Generator().manual_seed(2)
    x = pictures()
    y = data.cast_and_haze(x.clone(), 0, 0, g)
    y = data.blank_parts(y, 0, g)
    assert not changed(x, y).any()


def test_cast_moves_the_channels_apart_and_haze_brightens() -> None:
    g = torch.Generator().manual_seed(3)
    x = pictures()
    cast = data.cast_and_haze(x.clone(), 1, 0, g).mean((2, 3))
    assert (cast.max(1).values - cast.min(1).values).mean() > 5
    haze = data.cast_and_haze(x.clone(), 0, 1, g)
    assert (haze.mean((1, 2, 3)) > x.mean((1, 2, 3))).all()
    assert haze.flatten(1).std(1).mean() < x.flatten(1).std(1).mean()


def test_blank_parts_never_take_more_than_half() -> None:
    g = torch.Generator().manual_seed(4)
    x = pictures()
    y = data.blank_parts(x.clone(), 1, g)
    share = (x != y).float().mean((1, 2, 3))
    assert changed(x, y).all()
    assert share.max() <= 0.5 + 1e-6


def test_labels_lie_on_the_chosen_pictures_only() -> None:
    g = torch.Generator().manual_seed(5)
    sheets = data.label_sheets(8, 64, seed=1)
    assert sheets.shape == (8, 4, 64, 64)
    assert float(sheets[:, 3].max()) <= 1
    x = pictures(200)
    touched = changed(x, data.lay_labels(x.clone(), sheets, 0.5, g))
    assert 70 <= int(touched.sum()) <= 130
    assert torch.equal(data.label_sheets(8, 64, seed=1), sheets)
