import json

import pytest
import torch
from conftest import tiny
from tilescout_train import data, text, train
from tilescout_train.errors import DataError
from tilescout_train.loss import Memory, caption_loss, class_loss


def same(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return a == b


def test_two_epochs_end_to_end(base):
    folder = train.train(tiny("whole"), base)
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert [entry["epoch"] for entry in run["log"]] == [1, 2]
    assert set(run["data"]) == {"rsicd_train"}
    assert not list(folder.glob("*.part"))


def test_resuming_gives_the_same_weights(base):
    straight = train.prepare(tiny("straight"), base)
    straight.run_epoch()
    straight.run_epoch()
    first = train.prepare(tiny("cut"), base)
    first.run_epoch()
    first.save()
    torch.randn(7)  # another process has another global state
    again = train.prepare(tiny("cut"), base)
    assert again.epoch == 1
    again.run_epoch()
    for key in ("model", "ema", "image_optimiser", "text_optimiser", "random"):
        assert same(straight.state()[key], again.state()[key]), key


def test_painted_tiles_share_the_target(base):
    folder = base / "painted"
    folder.mkdir(exist_ok=True)
    image = data.Image.new("RGB", (40, 40), (10, 200, 30))
    image.save(folder / "a.png")
    rows = [
        {"file": "a.png", "labels": ["stadium", "parking lot", "unheard of"], "main": "stadium"},
        {"file": "a.png", "labels": ["unheard of"]},
    ]
    text_rows = "\n".join(json.dumps(row) for row in rows)
    (folder / "tiles.jsonl").write_text(text_rows, encoding="utf-8")
    concepts, _ = text.load_concepts()
    scenes = data.load_painted(folder, concepts, 32)
    names = [c.names[0] for c in concepts]
    assert len(scenes) == 1
    assert scenes.target[0, names.index("stadium")] == pytest.approx(2 / 3)
    assert scenes.target[0, names.index("parking lot")] == pytest.approx(1 / 3)
    config = tiny("mixed", painted=["painted"], painted_share=0.25, mix_probability=0.0)
    assert train.prepare(config, base).run_epoch()["class"] > 0


def test_data_errors_name_file_and_line(tmp_path):
    path = tmp_path / "x_train.jsonl"
    path.write_text('{"file":"a","class":"b"}\nnot json\n', encoding="utf-8")
    with pytest.raises(DataError, match="x_train.jsonl:2"):
        data.read_list(path)
    path.write_text('{"file":"a","class":"b"}\n', encoding="utf-8")
    (tmp_path / "x_train.tar.gz").write_bytes(b"no tar")
    with pytest.raises(DataError, match="x_train.tar.gz"):
        data.load_set(tmp_path, "x_train", [], 32)


def test_masked_classes_do_not_compete():
    logits = torch.tensor([[1.0, 50.0, 0.0]])
    target = torch.tensor([[1.0, 0.0, 0.0]])
    allowed = torch.tensor([[True, False, True]])
    want = torch.nn.functional.cross_entropy(torch.tensor([[1.0, 0.0]]), torch.tensor([0]))
    assert torch.isclose(class_loss(logits, target, allowed, 0.0), want)
    assert class_loss(logits, target * 0, allowed, 0.1) == 0


def test_same_class_captions_hardly_compete():
    x = torch.nn.functional.normalize(torch.ones(2, 4), dim=1)
    scale = torch.tensor(10.0)
    apart = caption_loss(x, x, scale, torch.tensor([[0, 0, 0], [1, 1, 1]]), 0.01)
    together = caption_loss(x, x, scale, torch.tensor([[0, 0, 0], [1, 0, 1]]), 0.01)
    assert together < 0.02 < apart


def test_remembered_pairs_are_negatives_unless_they_say_the_same():
    x = torch.nn.functional.normalize(torch.eye(3, 4) + 0.5, dim=1)
    scale, about = torch.tensor(10.0), torch.tensor([[0, 0, 0], [1, 1, 1], [2, 2, 2]])
    plain = caption_loss(x, x, scale, about, 1.0)
    memory = Memory(4, 4)
    assert caption_loss(x, x, scale, about, 1.0, memory) == plain
    cosines, own = 10 * x @ x.T, torch.eye(3, dtype=torch.bool)
    memory.add(x, x, about)  # of its own picture nobody is a negative
    logits = torch.cat([cosines, cosines.masked_fill(own, -1e4)], 1)
    want = torch.nn.functional.cross_entropy(logits, torch.arange(3))
    assert caption_loss(x, x, scale, about, 1.0, memory) == pytest.approx(float(want), abs=1e-5)
    memory.add(x, x, about + 10)
    more = caption_loss(x, x, scale, about, 1.0, memory)
    assert len(memory.about) == 4  # the last of the first three, and the other three
    logits = torch.cat([cosines, cosines[:, 2:].masked_fill(own[:, 2:], -1e4), cosines], 1)
    want = torch.nn.functional.cross_entropy(logits, torch.arange(3))
    assert more == pytest.approx(float(want), abs=1e-5)
    again = Memory(4, 4)
    again.restore(memory.state())
    assert caption_loss(x, x, scale, about, 1.0, again) == more


def test_teachers_soften_the_labels_and_run_resumes(base):
    teacher = train.prepare(tiny("teacher"), base)
    teacher.run_epoch()
    teacher.save()
    config = tiny("pupil", teachers=["runs/teacher/last.pt"], caption_memory=64)
    pupil = train.prepare(config, base)
    plain = teacher.scenes.target
    soft = pupil.scenes.target
    known = plain.sum(1) > 0
    assert torch.allclose(soft[known].sum(1), torch.ones(int(known.sum())), atol=1e-4)
    assert not soft[~known].any()
    assert (soft[known] * plain[known]).sum(1).min() >= 0.5
    assert (soft[known] * plain[known]).sum(1).max() < 0.999
    assert not soft[~pupil.scenes.allowed].any()
    pupil.run_epoch()
    pupil.save()
    again = train.prepare(config, base)
    assert same(again.state()["memory"], pupil.state()["memory"])
    assert len(again.memory.about) > 0
    with pytest.raises(DataError, match="nowhere"):
        train.prepare(tiny("orphan", teachers=["runs/nowhere/last.pt"]), base)


def test_geometric_keeps_the_picture_inside_and_has_eight_orientations():
    g = torch.Generator().manual_seed(0)
    square = torch.zeros(1, 3, 16, 16, dtype=torch.uint8)
    square[:, :, :8, :8] = 200  # one bright corner
    seen = set()
    for _ in range(40):
        x = data.geometric(square, 16, 1.0, g)[0, 0]
        seen.add(tuple((q.mean() > 100).item() for q in (x[:8, :8], x[:8, 8:], x[8:, :8])))
    assert len(seen) == 4
    assert data.block_noise(torch.full((1, 3, 16, 16), 128.0), g).mean() == pytest.approx(128, 0.05)
