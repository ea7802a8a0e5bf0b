import json

import pytest
import torch
from conftest import tiny
from tilescout_train import analyse, data, evaluate, export, text, train


@pytest.fixture(scope="module")
def folder(base):
    """A model folder of a tiny run, float."""
    config = tiny("analysed", epochs=1)
    train.train(config, base)
    model, tokenizer = export.load_run(config, base / "runs" / config.name)
    out = base / "analysed_model"
    pixels = torch.randint(0, 256, (16, 3, 32, 32)).to(torch.uint8)
    export.write_graphs(model, tokenizer, pixels, 32, out)
    tokenizer.save(out / "vocab.json")
    table = {"text": {"tokenizer": "words", "context": config.context}, "image": {"size": 32}}
    (out / "model.json").write_text(json.dumps(table), encoding="utf-8")
    return out


def test_tables_agree_with_evaluate(folder, base, capsys):
    arguments = ["--model", str(folder), "--scenes", str(base / "scenes"), "--threads", "1"]
    assert analyse.main([*arguments, "--against", str(folder)]) == 0
    out = capsys.readouterr().out
    concepts, _ = text.load_concepts()
    scenes = data.load_set(base / "scenes", "rsicd_valid", concepts, 168)
    subject = analyse.from_folder(folder)
    want = evaluate.report(subject.images, subject.texts, scenes, base / "scenes", 32)
    assert f"| top-1 | {want['topk'][1]:.3f} |" in out
    assert f"mR {100 * want['retrieval']['mR']:.1f} [" in out
    for name, row in want["classes"].items():
        assert f"| {name} | {row['n']} | {row['top1']:.3f} [" in out
    assert "| top-1 | 0.000 [0.000, 0.000] | 0 | 0 |" in out
    assert out.count("times coarser") == len(analyse.COARSER)


def test_intervals_cover_what_they_should():
    weights = analyse.draws(400)
    assert weights.shape == (analyse.RESAMPLES, 400)
    assert (weights.sum(1) == 400).all()
    hits = (torch.arange(400) < 320).double()
    low, high = analyse.resampled(hits, weights)
    wilson = evaluate.interval(0.8, 400)
    assert low == pytest.approx(wilson[0], abs=0.01)
    assert high == pytest.approx(wilson[1], abs=0.01)
    zeros = torch.zeros(6, dtype=torch.long)
    owner = torch.tensor([0, 0, 1, 2, 3, 4])
    assert analyse.mean_recall(zeros[:5], zeros, owner) == (1.0, (1.0, 1.0))
    late = torch.tensor([0, 3, 7, 20, 0])
    value, (low, high) = analyse.mean_recall(late, zeros, owner)
    assert value == pytest.approx((2 / 5 + 3 / 5 + 4 / 5 + 3) / 6)
    assert low < value < high


def test_less_detail_and_less_ground():
    pixels = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    pixels[:, :, ::2] = 200  # stripes of one pixel
    coarse = analyse.coarser(pixels, 2.0)
    assert coarse.shape == pixels.shape
    assert int(coarse.max()) - int(coarse.min()) < 5
    assert analyse.closer(pixels, 0.5).shape == (1, 3, 32, 32)
    assert torch.equal(analyse.closer(pixels, 0.5), pixels[:, :, 16:48, 16:48])


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--model", "nowhere"], "model.json: No such file"),
        (["--config", "nowhere.toml"], "nowhere.toml: No such file"),
        (["--set", "rsicd_test"], "rsicd_test.jsonl: No such file"),
        (["--set", "ucm_valid"], "ucm_valid.jsonl: No such file"),
        (["--threads", "0"], "--threads must be at least 1"),
    ],
)
def test_the_command_says_what_is_wrong_and_exits_2(folder, base, capsys, more, message):
    arguments = ["--scenes", str(base / "scenes"), *more]
    if more[0] not in ("--model", "--config"):
        arguments += ["--model", str(folder)]
    assert analyse.main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
