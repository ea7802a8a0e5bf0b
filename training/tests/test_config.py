import pytest
from tilescout_train.config import load, parse
from tilescout_train.errors import ConfigError


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "'name' is missing"),
        ({"name": "x", "epoch": 3}, "unknown key 'epoch'"),
        ({"name": "x", "epochs": "3"}, "epochs: expected int, got str"),
        ({"name": "x", "epochs": True}, "epochs: expected int, got bool"),
        ({"name": "x", "sets": "rsicd_train"}, "sets: expected a list"),
        ({"name": "x", "epochs": 0}, "at least 1"),
        ({"name": "x", "painted_share": 0.1}, "needs painted folders"),
        ({"name": "x", "crop_area": 0}, "crop_area"),
        ({"name": "x", "text_heads": 3}, "divisible"),
    ],
)
def test_wrong_values_are_named(values, message):
    with pytest.raises(ConfigError, match=message):
        parse(values)


def test_file_errors_carry_the_path(tmp_path):
    path = tmp_path / "bad.toml"
    with pytest.raises(ConfigError, match="bad.toml"):
        load(path)
    path.write_text("name = ", encoding="utf-8")
    with pytest.raises(ConfigError, match="bad.toml"):
        load(path)


def test_overrides_win_and_sizes_follow_the_epochs(tmp_path):
    path = tmp_path / "x.toml"
    path.write_text('name = "x"\nepochs = 3\nsizes = [[0.0, 96], [0.5, 128]]\n', encoding="utf-8")
    config = load(path, ["epochs=10", "lr=1"])
    assert (config.epochs, config.lr) == (10, 1.0)
    assert [config.size_at(e / 10) for e in range(10)] == [96] * 5 + [128] * 5
