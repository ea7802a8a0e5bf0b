import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tilescout_train import data, quantise
from tilescout_train.errors import DataError
from tilescout_train.finetune import card, checkpoint, export, graph, pictures
from tilescout_train.finetune.towers import Towers, neighbourhood

from .conftest import write_clip

pytest.importorskip("transformers", reason="needs transformers: pip install -e '.[finetune]'")

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data" / "clip" / "tiny"


@pytest.fixture(scope="module")
def request_(base):
    scenes = base / "scenes"
    return export.Request(
        base / "clip", base / "model", scenes / "rsicd_valid.jsonl", scenes / "rsicd_valid.tar.gz",
        threads=1,
    )


@pytest.fixture(scope="module")
def folder(request_):
    figures = export.write_folder(request_)
    return request_.out, figures


def towers_of(folder):
    model = checkpoint.load_model(folder).eval()
    return Towers(model, checkpoint.load_preprocessing(folder, 32))


def test_folder_is_whole(folder, base):
    out, figures = folder
    names = {p.name for p in out.iterdir()}
    assert names == {
        "model.json", "image.onnx", "text.onnx", "vocab.json", "merges.txt", "concepts.json",
        "golden.json", "README.md",
    }
    model = json.loads((out / "model.json").read_text(encoding="utf-8"))
    assert model["image"]["sha256"] == data.file_digest(out / "image.onnx")
    assert model["text"]["sha256"] == data.file_digest(out / "text.onnx")
    assert (model["text"]["tokenizer"], model["text"]["merges"]) == ("bpe", "merges.txt")
    assert (model["image"]["size"], model["image"]["resize"]) == (32, "shortest-crop")
    assert (model["dimension"], model["text"]["context"]) == (16, 40)
    assert set(model["calibration"]) == {
        "scale", "seed", "floor", "match", "top3", "weak", "synonym"
    }
    assert figures["least_cosine"] >= 0.99999
    assert figures["n"] == 12
    card = (out / "README.md").read_text(encoding="utf-8")
    assert f"“Aerial photograph of {{}}” | {figures['topk'][1]:.3f} [" in card
    assert "how it was trained is for its author to say" in card
    for name in ("vocab.json", "merges.txt"):
        theirs, mine = ((f / name).read_text(encoding="utf-8") for f in (base / "clip", out))
        same = (json.loads(theirs), json.loads(mine)) if name == "vocab.json" else (theirs, mine)
        assert same[0] == same[1]


def test_the_card_tells_how_an_epoch_was_trained(base):
    from tilescout_train.finetune import train

    from .conftest import tiny

    run = train.train(tiny("told", epochs=1, batch=12), base)
    text = "\n".join(card.training(run / "epoch-1"))
    assert "from `clip` for 1 of 1 passes over 24 captioned pictures (rsicd_train)" in text
    assert "batch 12" in text
    assert f"`rsicd_train.jsonl` {data.file_digest(base / 'scenes/rsicd_train.jsonl')[:12]}" in text
    (run / "run.json").write_text("{}", encoding="utf-8")
    with pytest.raises(DataError, match="run.json: not the description"):
        card.training(run / "epoch-1")


def test_golden_vectors_are_the_checkpoints(folder, base):
    golden = json.loads((folder[0] / "golden.json").read_text(encoding="utf-8"))
    towers = towers_of(base / "clip")
    for picture in golden["images"]:
        image = Image.open(io.BytesIO(base64.b64decode(picture["png"])))
        pixels = torch.tensor(pictures.fit(image, 32)).permute(2, 0, 1)[None]
        with torch.no_grad():
            want = towers.images(pixels)[0]
        assert torch.allclose(torch.tensor(picture["embedding"]), want, atol=2e-5)
    for prompt in golden["texts"]:
        assert len(prompt["tokens"]) == 40
        with torch.no_grad():
            want = towers.texts(torch.tensor([prompt["tokens"]]))[0]
        assert torch.allclose(torch.tensor(prompt["embedding"]), want, atol=2e-5)
    assert max(len(t["tokens"]) for t in golden["tokens"]) == 40  # the long one is cut


@pytest.mark.parametrize("act", ["quick_gelu", "gelu", "gelu_pytorch_tanh"])
def test_activations_and_batches(tmp_path, act):
    folder = write_clip(tmp_path / act, hidden_act=act)
    towers = towers_of(folder)
    session = quantise.session(graph.text_graph(towers.model), 1)
    end = towers.model.config.text_config.eos_token_id
    ids = torch.randint(0, end - 1, (3, 9))
    ids[0, 4], ids[1, 8] = end, end
    ids[0, 6] = end  # the first end counts; row 2 has none
    with torch.no_grad():
        want = towers.texts(ids)
    got = session.run(None, {"tokens": ids.numpy()})[0]
    assert np.allclose(got, want, atol=1e-5)
    alone = session.run(None, {"tokens": ids[:1, :5].numpy()})[0]
    assert np.allclose(alone[0], got[0], atol=1e-6)


def test_shared_tiny_models_give_the_expected_vectors():
    if not SHARED.is_dir():
        pytest.skip("the shared tiny models are not here")
    expected = json.loads((SHARED / "expected.json").read_text(encoding="utf-8"))
    want = expected["expected_quick_gelu"]
    y, x = np.mgrid[0:32, 0:32]
    value = [
        np.stack([(7 * x + 13 * y + 29 * c + 31 * s + (x * y) % 11) % 64 for c in range(3)], -1)
        for s in range(2)
    ]
    pixels = np.stack(value).astype(np.uint8)  # in the file: value / 32 - 1
    unit = (32 / 255,) * 3
    for name in ("hf", "hf_bin_f16", "hf_bin_legacy_f16", "hf_sharded_bf16"):
        model = checkpoint.load_model(SHARED / name).eval()
        made = graph.image_graph(model, checkpoint.Preprocessing(32, "bicubic", unit, unit))
        got = quantise.session(made, 1).run(["embedding"], {"pixels": pixels})[0]
        assert np.abs(got - np.array(want["image_embeds"])).max() < 5e-6, name
        session = quantise.session(graph.text_graph(model), 1)
        for ids, vector in zip(expected["input_ids"], want["text_embeds"], strict=True):
            got = session.run(None, {"tokens": np.array([ids + [529] * 4])})[0][0]
            assert np.abs(got - np.array(vector)).max() < 5e-6, name


def test_dense_vectors_see_their_own_patch(base):
    towers = towers_of(base / "clip")
    near = neighbourhood(4)
    assert near[0].abs().sum() == near[:, 0].abs().sum() == 0
    assert near[1, 1] == 1 > near[1, 2] == near[1, 5] > near[1, 6] > near[1, 16] > 0
    made = graph.image_graph(towers.model, checkpoint.load_preprocessing(base / "clip", 32))
    pixels = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    session = quantise.session(made, 1)
    rows = pixels.permute(0, 2, 3, 1).contiguous().numpy()
    dense = session.run(["dense"], {"pixels": rows})[0]
    with torch.no_grad():
        assert np.allclose(dense, towers.dense(pixels), atol=1e-5)
    rows[:, 24:, 24:] = 255 - rows[:, 24:, 24:]  # the last patch
    moved = np.abs(session.run(["dense"], {"pixels": rows})[0] - dense).max(-1)
    assert (moved.argmax(1) == 15).all()


@pytest.mark.parametrize("precision", ["int8", "int8-dynamic"])
def test_int8_is_smaller_and_close(base, tmp_path, precision):
    model = checkpoint.load_model(base / "clip").eval()
    preprocessing = checkpoint.load_preprocessing(base / "clip", 32)
    sizes = {}
    for kind in ("float32", precision):
        (tmp_path / kind).mkdir()
        export.write_graphs(model, preprocessing, kind, tmp_path / kind)
        sizes[kind] = (tmp_path / kind / "image.onnx").stat().st_size
    assert sizes[precision] < 0.7 * sizes["float32"]
    tokenizer = checkpoint.load_tokenizer(base / "clip", 10_000)
    captions = export.Captions(tokenizer, 40, 40)
    exported = export.Exported(tmp_path / precision, captions, 1)
    cosine = export.least_cosine(Towers(model, preprocessing), exported, 32)
    assert export.LEAST_COSINE[precision] <= cosine < 1 - 1e-7
    pixels = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    if precision == "int8":  # only weights are int8: no batch mate may matter
        one, all_ = exported.images(pixels[:1]), exported.images(pixels)
        assert torch.allclose(one[0], all_[0], atol=1e-6)


def test_a_graph_that_differs_is_not_written(request_, base, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(graph, "neighbourhood", lambda grid: neighbourhood(grid) * -9)
    out = tmp_path / "model"
    arguments = ["--checkpoint", str(base / "clip"), "--valid", str(request_.valid)]
    assert export.main([*arguments, "--out", str(out), "--threads", "1"]) == 2
    assert "from the checkpoint" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--checkpoint", "nowhere"], "nowhere/config.json: No such file"),
        (["--context", "99"], "99, but the model has 40 positions"),
        (["--template", "a port"], "--template must hold one {}"),
        (["--valid", "nowhere.jsonl"], "nowhere.jsonl: No such file"),
        (["--images", "nowhere.tar.gz"], "nowhere.tar.gz: No such file"),
        (["--out", "."], "is not empty and no model folder"),
    ],
)
def test_the_command_says_what_is_wrong_and_exits_2(
    base, tmp_path, monkeypatch, capsys, more, message
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "something").write_text("mine", encoding="utf-8")
    valid = base / "scenes" / "rsicd_valid.jsonl"
    arguments = ["--checkpoint", str(base / "clip"), "--out", "model", "--valid", str(valid)]
    assert export.main([*arguments, *more]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert [p.name for p in tmp_path.iterdir()] == ["something"]


def test_calibration_needs_known_classes(request_, base, tmp_path):
    lines = request_.valid.read_text(encoding="utf-8").replace('"port"', '"harbour"')
    strange = tmp_path / "x.jsonl"
    strange.write_text(lines, encoding="utf-8")
    values = {**request_.__dict__, "valid": strange, "out": tmp_path / "model"}
    with pytest.raises(DataError, match="x.jsonl: class 'harbour' is not an RSICD class"):
        export.write_folder(export.Request(**values))
    assert not (tmp_path / "model").exists()
