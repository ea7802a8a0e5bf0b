import io
import json
import os
import shutil
import signal
import tarfile

import pytest
import torch
from tilescout_train.errors import ConfigError, DataError
from tilescout_train.finetune import captions, checkpoint, contrast, evaluate, pictures, train
from tilescout_train.finetune.config import parse

from .conftest import tiny, vocabulary, write_clip

pytest.importorskip("transformers", reason="needs transformers: pip install -e '.[finetune]'")


@pytest.fixture(scope="module")
def straight(base):
    """A run of two epochs without a break."""
    return train.train(tiny("straight"), base)


def weights(folder, epoch=2):
    return checkpoint.load_model(folder / f"epoch-{epoch}").state_dict()


def same_weights(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_loss_falls_and_the_folder_loads(straight, base):
    from transformers import CLIPModel, CLIPTokenizer

    run = json.loads((straight / "run.json").read_text(encoding="utf-8"))
    log = run["log"]
    assert [e["epoch"] for e in log] == [0, 1, 2]
    assert log[2]["loss"] < log[1]["loss"]
    assert log[2]["top1"] > log[0]["top1"]
    assert set(run["data"]) == {"rsicd_train.jsonl", "rsicd_train.tar.gz"}
    out = straight / "epoch-2"
    assert CLIPModel.from_pretrained(out, local_files_only=True).dtype == torch.float32
    tokens = vocabulary()[0]
    ids = CLIPTokenizer.from_pretrained(out, local_files_only=True)("a stadium").input_ids
    assert [tokens[i] for i in ids] == ["<|startoftext|>", "a</w>", "stadium</w>", "<|endoftext|>"]
    for name in ("preprocessor_config.json", "vocab.json", "merges.txt"):
        assert (out / name).read_bytes() == (base / "clip" / name).read_bytes()
    rows = (out / "zero_shot.tsv").read_text(encoding="utf-8").splitlines()
    assert len(rows) == 12  # of 13, one is not named
    assert all(len(row.split("\t")) == 2 + 2 * 4 for row in rows)
    assert not list(straight.glob("*.part"))


@pytest.mark.parametrize("optimiser", ["adafactor", "adamw"])
def test_a_killed_run_goes_on_to_the_same_bits(base, optimiser, straight):
    values = {"optimiser": optimiser, "save_minutes": 0.0}  # saves after every step
    if optimiser == "adamw":
        straight = train.train(tiny("straight_adamw", optimiser="adamw"), base)
    config = tiny(f"killed_{optimiser}", **values)
    shutil.rmtree(base / "runs" / config.name, ignore_errors=True)
    child = os.fork()
    if child == 0:  # in the second epoch, within a save: after the step, before the rename
        saves = []
        whole = train.Trainer.save

        def save(self):
            saves.append(1)
            if len(saves) == 6:
                (self.folder / "last.pt.part").write_bytes(b"half a file")
                os.kill(os.getpid(), signal.SIGKILL)
            whole(self)

        train.Trainer.save = save
        try:
            train.train(config, base)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    folder = base / "runs" / config.name
    state = torch.load(folder / "last.pt", weights_only=True)
    assert (state["epoch"], state["batch"]) == (1, 1)
    torch.randn(7)  # another process has another global state
    train.train(parse({**config.__dict__, "sets": list(config.sets), "save_minutes": 9.0}), base)
    want = torch.load(straight / "last.pt", weights_only=True)
    got = torch.load(folder / "last.pt", weights_only=True)
    assert same_weights(want["model"], got["model"])
    assert same_weights(weights(straight), weights(folder))
    assert [e["loss"] for e in want["log"][1:]] == [e["loss"] for e in got["log"][1:]]


def test_a_limit_stops_between_epochs_and_the_rest_follows(base, straight):
    folder = train.train(tiny("limited", epoch_limit=1), base)
    assert torch.load(folder / "last.pt", weights_only=True)["epoch"] == 1
    train.train(tiny("limited", keep_all=False), base)
    assert same_weights(weights(straight), weights(folder))
    assert train.train(tiny("limited"), base) == folder  # a finished run does nothing


def gradients(base, chunk, bf16=False, **more):
    config = tiny("grad", chunk=chunk, bf16=bf16, **more)
    trainer, _ = train.prepare(config, base)
    pixels = trainer.training.batch(torch.arange(12))
    ids = trainer.words.ids([c[0] for c in trainer.training.captions[:12]])
    loss = contrast.backward(trainer.towers, pixels, ids, chunk)
    return loss, {n: p.grad for n, p in trainer.towers.model.named_parameters()}


def test_gradient_cache_equals_the_full_batch(base):
    want_loss, want = gradients(base, 12)
    for chunk in (5, 1):  # 5: the last chunk is smaller
        loss, got = gradients(base, chunk)
        assert loss == pytest.approx(want_loss, rel=1e-6)
        for name, grad in want.items():
            assert torch.allclose(grad, got[name], rtol=1e-4, atol=1e-6), name
    assert all(grad.abs().max() > 0 for name, grad in want.items() if "k_proj.bias" not in name)


def test_locked_towers_stay_and_get_no_gradient(base):
    for chunk in (12, 5):
        _, grads = gradients(base, chunk, train_image="none", train_text="last:1")
        learned = {name for name, grad in grads.items() if grad is not None}
        assert not any(name.startswith("vis") for name in learned)
        assert "text_model.encoder.layers.1.mlp.fc1.weight" in learned
        assert "text_projection.weight" in learned
        assert not any("layers.0" in name or "embeddings" in name for name in learned)
    config = tiny("lit", train_image="none", epochs=1, evaluate_first=False, augmentation="none")
    after = weights(train.train(config, base), 1)
    before = checkpoint.load_model(base / "clip").state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert not any(name.startswith("vis") for name in changed)
    with pytest.raises(ConfigError, match="last:9, but the tower has 2 blocks"):
        train.prepare(tiny("many", train_text="last:9"), base)


def test_bf16_cosine_and_a_clamped_scale(base):
    config = tiny(
        "mixed", bf16=True, schedule="cosine", logit_scale_max=10.0, chunk=3, epochs=1,
        augmentation="original", same_caption_negatives=False, evaluate_first=False,
    )
    folder = train.train(config, base)
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert run["log"][0]["logit_scale"] <= 10.0005
    assert all(v.dtype == torch.float32 for v in weights(folder, 1).values())


def test_rates_warm_up_and_fall_to_nothing():
    linear = [train.learning_rate(tiny("x", warmup=2, lr=1.0), s, 10) for s in range(11)]
    assert linear[:4] == [0.5, 1.0, 1.0, 0.875]
    assert linear[10] == 0
    cosine = tiny("x", warmup=2, lr=1.0, schedule="cosine")
    assert train.learning_rate(cosine, 6, 10) == pytest.approx(0.5)
    assert train.learning_rate(cosine, 10, 10) == pytest.approx(0)


def test_every_picture_is_trained_with_its_own_sentences(base):
    trainer, _ = train.prepare(tiny("pairs"), base)
    training = trainer.training
    assert {len(c) for c in training.captions} == {1, 2}  # fewer than asked for must not shift
    for seed in range(20):
        rows = torch.randperm(24, generator=train.generator(seed))
        drawn = captions.draw(trainer.choices, rows, train.generator(seed, 1))
        for row, sentence in zip(rows.tolist(), drawn, strict=True):
            allowed = training.captions[row] + training.extra_captions[row]
            assert sentence in allowed
    human = captions.pools(training, augmented=False)
    assert not any("naked land" in pool for pool in human)


def test_padding_and_cutting_of_captions(base):
    trainer, _ = train.prepare(tiny("pads", caption_length=6), base)
    tokens = vocabulary()[0]
    end = tokens.index("<|endoftext|>")
    short, long = "a port", "one stadium near some trees near a river"
    ids = trainer.words.ids([short, long], 6)
    assert ids.shape == (2, 6)
    assert ids[0, 3:].tolist() == [end] * 3
    assert (tokens[int(ids[1, 0])], int(ids[1, 5])) == ("<|startoftext|>", end)  # the end stays
    with torch.no_grad():
        padded = trainer.towers.texts(trainer.words.ids([short], 6))
        bare = trainer.towers.texts(trainer.words.ids([short]))
    assert torch.allclose(padded, bare, atol=1e-6)
    with pytest.raises(ConfigError, match="41, but the model has 40 positions"):
        train.prepare(tiny("long", caption_length=41), base)


def test_original_augmentation_covers_most_of_the_picture():
    y, x = torch.meshgrid(torch.arange(224), torch.arange(224), indexing="ij")
    picture = torch.stack([x, y, x * 0]).to(torch.uint8).expand(8, 3, 224, 224)
    out = pictures.original(picture, torch.Generator().manual_seed(3))
    assert out.shape == picture.shape
    assert out.dtype == torch.uint8
    for row in out:
        across = abs(int(row[0, 112, 223]) - int(row[0, 112, 0]))
        assert 155 <= across <= 180  # sqrt(.8) × 179 to 179 of 224 columns
    assert len({(int(r[0, 112, 0]) > 112, int(r[1, 0, 112]) > 112) for r in out}) >= 3  # flips
    again = pictures.original(picture, torch.Generator().manual_seed(3))
    assert torch.equal(out, again)


def test_fit_is_the_preprocessing_of_the_library(base):
    import numpy as np
    from PIL import Image
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    processor = CLIPImageProcessorPil.from_pretrained(base / "clip")
    for shape in ((50, 41), (37, 90), (32, 32), (20, 70)):
        pixels = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
        image = Image.fromarray(pixels)
        towers = train.prepare(tiny("fit"), base)[0].towers
        fitted = torch.tensor(pictures.fit(image, 32)).permute(2, 0, 1)[None]
        mine = towers.normalise(fitted)
        theirs = processor(image, return_tensors="pt")["pixel_values"]
        assert torch.allclose(mine, theirs, atol=1e-5), shape


def test_protocol_counts_hits_among_named_pictures():
    names = ["a", "b", "c"]
    texts = torch.eye(3)
    vectors = torch.tensor([[1.0, 0, 0], [0.9, 0.3, 0.1], [0, 0.2, 0.9], [0, 0, 1.0]])
    shown = pictures.Pictures(
        ["1", "2", "3", "4"], [], ["a", "b", "c", ""], [[]] * 4, [[]] * 4, {}
    )
    figures, table = evaluate.zero_shot(vectors, texts, shown, names, 10.0)
    assert figures["n"] == 3
    assert figures["topk"] == {1: pytest.approx(2 / 3), 3: 1.0, 5: 1.0, 10: 1.0}
    assert table[1][:3] == ["2", "b", "a"]
    assert float(table[1][3]) == pytest.approx(0.9972, abs=1e-3)


def copy_clip(base, tmp_path):
    return shutil.copytree(base / "clip", tmp_path / "clip")


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda c: (c / "config.json").write_text("{"), "config.json: not JSON"),
        (lambda c: (c / "config.json").write_text('{"model_type":"bert"}'), "want 'clip'"),
        (lambda c: (c / "config.json").unlink(), "config.json: No such file"),
        (lambda c: (c / "model.safetensors").unlink(), "weights cannot be read"),
        (lambda c: (c / "model.safetensors").write_bytes(b"\x08\0\0\0"), "weights cannot be read"),
        (lambda c: (c / "vocab.json").unlink(), "no tokenizer.json"),
        (lambda c: (c / "merges.txt").write_bytes(b"\xff\xfe"), "tokenizer cannot be read"),
        (lambda c: (c / "preprocessor_config.json").write_text('{"crop_size":64}'),
         "crop_size is 64"),
    ],
)
def test_a_bad_checkpoint_is_one_line(base, tmp_path, break_it, message):
    folder = copy_clip(base, tmp_path)
    break_it(folder)
    with pytest.raises(DataError, match=message) as caught:
        train.prepare(tiny("bad", checkpoint=str(folder)), base)
    assert "\n" not in str(caught.value)


def test_a_pickle_with_code_is_refused(base, tmp_path):
    class Evil:
        def __reduce__(self):
            return (os.system, (f"touch {tmp_path}/ran",))

    folder = copy_clip(base, tmp_path)
    (folder / "model.safetensors").unlink()
    torch.save({"logit_scale": Evil()}, folder / "pytorch_model.bin")
    with pytest.raises(DataError, match="cannot be read"):
        checkpoint.load_model(folder)
    assert not (tmp_path / "ran").exists()


def test_missing_and_infinite_weights_are_named(base, tmp_path):
    folder = copy_clip(base, tmp_path)
    (folder / "model.safetensors").unlink()
    state = checkpoint.load_model(base / "clip").state_dict()
    torch.save({**state, "logit_scale": torch.tensor(float("nan"))}, folder / "pytorch_model.bin")
    with pytest.raises(DataError, match="logit_scale holds NaN"):
        checkpoint.load_model(folder)
    state.pop("visual_projection.weight")
    torch.save(state, folder / "pytorch_model.bin")
    with pytest.raises(DataError, match="lack 'visual_projection.weight'"):
        checkpoint.load_model(folder)


def test_a_larger_vocabulary_than_the_model_is_refused(base, tmp_path):
    folder = write_clip(tmp_path / "small", vocab_size=500)
    with pytest.raises(DataError, match="token table 500 rows"):
        checkpoint.load_tokenizer(folder, 500)


def write_tar(path, name, content):
    with tarfile.open(path, "w:gz") as tar:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        tar.addfile(info, io.BytesIO(content))


@pytest.mark.parametrize(
    ("line", "entry", "message"),
    [
        ("{", "a.png", "x.jsonl:1: not JSON"),
        ('{"file":"a.png","captions":"one"}', "a.png", "x.jsonl:1: 'captions' must be a list"),
        ('{"file":"a.png"}', "../a.png", "points outside"),
        ('{"file":"a.png"}', "a.png", "'a.png' is no picture"),
        ('{"file":"b.png"}', "a.png", "has no entry 'b.png'"),
        ("", "a.png", "is empty"),
    ],
)
def test_bad_data_is_one_line(tmp_path, line, entry, message):
    (tmp_path / "x.jsonl").write_text(line, encoding="utf-8")
    write_tar(tmp_path / "x.tar.gz", entry, b"no picture")
    with pytest.raises(DataError, match=message):
        pictures.load_pictures(tmp_path / "x.jsonl", tmp_path / "x.tar.gz", 32, tmp_path / "cache")
    assert not list(tmp_path.glob("cache/*.npy"))


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("epoch = 3", "unknown key 'epoch'"),
        ("batch = 99", "more than the 24 pictures"),
        ('train_image = "last"', "train_image must be all, none or last:N"),
        ('optimiser = "sgd"', "optimiser must be adafactor or adamw"),
        ('valid = "rsicd_test"', "rsicd_test.jsonl: No such file"),
        ('device = "cuda:99"', "device 'cuda:99'"),
        ('labels = "readable"', "classes.json: No such file"),
        ("seed = 2", "was started with seed = 1"),
    ],
)
def test_the_command_says_what_is_wrong_and_exits_2(base, straight, capsys, assignment, message):
    path = base / "configs" / "x.toml"
    path.parent.mkdir(exist_ok=True)
    lines = [f"{k} = {json.dumps(v)}" for k, v in tiny("straight").__dict__.items()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert train.main(["--config", str(path), assignment]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
