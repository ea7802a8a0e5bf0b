import json

import numpy as np
import pytest
import torch
from conftest import tiny
from tilescout_train import calibrate, data, evaluate, export, graph, quantise, text, train


@pytest.fixture(scope="module")
def trained(base):
    config = tiny("exported")
    train.train(config, base)
    return config, *export.load_run(config, base / "runs" / config.name)


def test_float_graphs_equal_torch(trained):
    config, model, tokenizer = trained
    model.image.project.bias.data += 0.1
    pixels = torch.randint(0, 256, (3, 3, 64, 64)).to(torch.uint8)
    images, texts = export.ort_encoders(
        graph.image_graph(model, 64), graph.text_graph(model, config.context, False), tokenizer
    )
    own_images, own_texts = evaluate.torch_encoders(model, tokenizer)
    assert torch.allclose(images(pixels), own_images(pixels), atol=1e-4)
    prompts = ["a stadium", "many ports near a river and some trees", "zzyzx"]
    assert torch.allclose(texts(prompts), own_texts(prompts), atol=1e-4)


def test_dense_cells_average_to_the_embedding_direction(trained):
    _, model, _ = trained
    session = quantise.session(graph.image_graph(model, 64))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    embedding, dense = session.run(["embedding", "dense"], {"pixels": pixels})
    assert dense.shape == (2, 4, embedding.shape[1])
    assert np.allclose(np.linalg.norm(dense, axis=-1), 1, atol=1e-5)
    assert np.allclose(np.linalg.norm(embedding, axis=-1), 1, atol=1e-5)


def test_folder_is_whole_and_int8(trained, base, tmp_path):
    config, model, tokenizer = trained
    pixels = torch.randint(0, 256, (16, 3, 32, 32)).to(torch.uint8)
    export.write_graphs(model, tokenizer, pixels, 32, tmp_path)
    images, texts = export.ort_encoders(tmp_path / "image.onnx", tmp_path / "text.onnx", tokenizer)
    one, all_ = images(pixels[:1]), images(pixels)
    assert torch.allclose(one[0], all_[0], atol=1e-6)  # no batch mate may matter
    assert torch.allclose(texts(["stadium"])[0], texts(["stadium", "a river"])[0], atol=1e-6)
    tokenizer.save(tmp_path / "vocab.json")
    export.write_golden(tmp_path, 32, tokenizer, images, texts)
    export.write_model(tmp_path, config, "", 14.0, {"scale": 14.0})
    model_file = json.loads((tmp_path / "model.json").read_text(encoding="utf-8"))
    assert model_file["image"]["sha256"] == data.file_digest(tmp_path / "image.onnx")
    golden = json.loads((tmp_path / "golden.json").read_text(encoding="utf-8"))
    assert all(np.isclose(np.linalg.norm(i["embedding"]), 1, atol=1e-4) for i in golden["images"])
    assert all(len(t["tokens"]) == config.context for t in golden["texts"])
    vocabulary = json.loads((tmp_path / "vocab.json").read_text(encoding="utf-8"))
    assert vocabulary["words"][:2] == ["<pad>", "<unk>"]


def test_calibration_tells_present_from_absent():
    g = torch.Generator().manual_seed(0)
    vocabulary = torch.eye(8)
    truth = torch.arange(400) % 4
    noisy = vocabulary[truth] + 0.3 * torch.randn(400, 8, generator=g)
    vectors = torch.nn.functional.normalize(noisy, dim=1)
    overlaps = torch.zeros(8, 8, dtype=torch.bool)
    names = [torch.stack([v, v]) for v in vocabulary]
    block, figures = calibrate.calibrate(vectors, vocabulary, truth, overlaps, names)
    assert set(block) == {"scale", "seed", "floor", "match", "top3", "weak", "synonym"}
    assert figures["auroc_top3"] > 0.9
    assert figures["ece"] < 0.1
    assert block["floor"] < block["seed"]


def test_background_has_no_word_that_is_unknown():
    concepts, aliases = text.load_concepts()
    entries = calibrate.background(concepts, aliases)
    phrases = [e["phrase"] for e in entries]
    assert len(set(phrases)) == len(phrases) >= 30
    port = entries[phrases.index("port")]
    assert {"harbor", "harbour", "marina"} <= set(port["synonyms"])
    assert all(e["size"] > 0 for e in entries)


def test_figures_on_made_up_scores():
    scores = torch.tensor([0.9, 0.8, 0.1])
    assert evaluate.average_precision(scores, torch.tensor([True, False, True])) == pytest.approx(
        (1 + 2 / 3) / 2
    )
    low, high = evaluate.interval(0.9, 1000)
    assert 0.87 < low < 0.9 < high < 0.93
