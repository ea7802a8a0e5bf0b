"""Fine-tunes CLIP: `python -m tilescout_train.finetune.train --config FILE [KEY=VALUE ...]`."""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from ..errors import ConfigError, DataError, TrainError
from ..train import CHECKPOINT, _commit
from . import captions, checkpoint, contrast, evaluate, pictures
from .captions import Captions
from .config import FineTune, load
from .pictures import Pictures
from .towers import Towers, choose_trained, trained

AUGMENTED = 32  # pictures at once; not chunk, on which a run's course must not depend


def learning_rate(config: FineTune, step: int, steps: int) -> float:
    """Rate of a step (from 0) of steps: linear warm-up, then linear or cosine to 0."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    at = min(1.0, (step - config.warmup) / max(1, steps - config.warmup))
    return config.lr * (1 - at if config.schedule == "linear" else (1 + math.cos(math.pi * at)) / 2)


def generator(*numbers: int) -> torch.Generator:
    """Randomness that depends on its place in the run only, so a resumed run draws alike."""
    seed = 0
    for number in numbers:
        seed = (seed * 1_000_003 + number + 1) % (1 << 62)
    return torch.Generator().manual_seed(seed)


class Trainer:
    """Holds everything that a checkpoint must bring back."""

    def __init__(
        self, config: FineTune, towers: Towers, words: Captions, training: Pictures, folder: Path
    ) -> None:
        """Training pictures must all have captions."""
        torch.manual_seed(config.seed)
        if config.batch > len(training):
            raise ConfigError(
                f"batch is {config.batch}, more than the {len(training)} pictures with captions"
            )
        self.config, self.towers, self.words = config, towers, words
        self.training, self.folder = training, folder
        self.choices = captions.pools(training, config.text_augmentation)
        choose_trained(towers.model, config)
        self.optimiser = self._optimiser()
        self.batches = len(training) // config.batch  # an incomplete last batch is dropped
        self.epoch = self.batch = 0  # the next to do
        self.losses: list[float] = []  # of this epoch
        self.seconds = 0.0
        self.log: list[dict[str, Any]] = []
        self.saved = time.monotonic()

    def _optimiser(self) -> torch.optim.Optimizer:
        c = self.config
        weights = [p for _, p in trained(self.towers.model)]
        if c.optimiser == "adafactor":  # the defaults are those of optax, which the original used
            return torch.optim.Adafactor(weights, lr=c.lr)
        groups = [
            {"params": [p for p in weights if p.ndim > 1], "weight_decay": c.weight_decay},
            {"params": [p for p in weights if p.ndim <= 1], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(
            [g for g in groups if g["params"]], lr=c.lr, betas=(c.beta1, c.beta2), eps=1e-6
        )

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or those of this call."""
        limit = self.config.epoch_limit or self.config.epochs
        return self.epoch >= min(limit, self.config.epochs)

    def state(self) -> dict[str, Any]:
        """Everything that resuming needs."""
        device = self.towers.device
        return {
            "settings": self.config.settings(), "data": self.training.digests,
            "epoch": self.epoch, "batch": self.batch, "losses": self.losses,
            "seconds": self.seconds, "log": self.log,
            "model": self.towers.model.state_dict(), "optimiser": self.optimiser.state_dict(),
            "random": torch.get_rng_state(),
            "device_random": torch.cuda.get_rng_state(device) if device.type == "cuda" else None,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint of this run."""
        here = self.config.settings()
        changed = [k for k in here if state["settings"].get(k) != here[k]]
        if changed:
            raise ConfigError(
                f"run {self.config.name} was started with {changed[0]} = "
                f"{state['settings'].get(changed[0])!r}; go on with that, or take another name"
            )
        if state["data"] != self.training.digests:
            raise DataError(f"run {self.config.name} was started with other data")
        self.towers.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.epoch, self.batch = state["epoch"], state["batch"]
        self.losses, self.log = state["losses"], state["log"]
        self.seconds = state["seconds"]
        torch.set_rng_state(state["random"])
        if state["device_random"] is not None and self.towers.device.type == "cuda":
            torch.cuda.set_rng_state(state["device_random"], self.towers.device)

    def save(self) -> None:
        """Write the checkpoint so that a kill leaves the old or the new one."""
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self.folder / (CHECKPOINT + ".part")
        with part.open("wb") as f:
            torch.save(self.state(), f)
            f.flush()
            os.fsync(f.fileno())
        part.replace(self.folder / CHECKPOINT)
        self.saved = time.monotonic()

    def step(self, rows: Tensor) -> float:
        """One update from the pictures with these row numbers; returns the loss."""
        c, model = self.config, self.towers.model
        number = self.epoch * self.batches + self.batch
        g = generator(c.seed, self.epoch, self.batch + 1)
        ids = self.words.ids(captions.draw(self.choices, rows, g))
        # As uint8 a whole batch is small; only a chunk of it becomes float.
        pixels = torch.cat([
            pictures.augment(self.training.batch(part), c, g) for part in rows.split(AUGMENTED)
        ])
        same = None if c.same_caption_negatives else contrast.same_sentence(ids)
        self.optimiser.zero_grad(set_to_none=True)
        loss = contrast.backward(self.towers, pixels, ids, c.chunk, same)
        if not math.isfinite(loss):
            raise TrainError(f"the loss is {loss} in epoch {self.epoch + 1}; lower lr")
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(c, number, self.batches * c.epochs)
        if c.optimiser == "adamw" and c.clip_norm:
            torch.nn.utils.clip_grad_norm_([p for _, p in trained(model)], c.clip_norm)
        self.optimiser.step()
        if c.logit_scale_max:
            with torch.no_grad():
                model.logit_scale.clamp_(max=math.log(c.logit_scale_max))
        return loss

    def run_epoch(self) -> dict[str, Any]:
        """Do what is left of the epoch; its checkpoint is the caller's to write."""
        c = self.config
        order = torch.randperm(len(self.training), generator=generator(c.seed, self.epoch))
        started = time.monotonic()
        self.towers.model.train()
        bar = tqdm(
            total=self.batches, initial=self.batch, desc=f"epoch {self.epoch + 1}/{c.epochs}",
            unit="step", disable=None,
        )
        with bar:
            while self.batch < self.batches:
                loss = self.step(order[self.batch * c.batch : (self.batch + 1) * c.batch])
                self.losses.append(loss)
                self.batch += 1
                bar.update()
                bar.set_postfix(loss=f"{loss:.3f}")
                if time.monotonic() - self.saved >= 60 * c.save_minutes:
                    self.seconds += time.monotonic() - started
                    started = time.monotonic()
                    self.save()
        self.seconds += time.monotonic() - started
        entry = {
            "epoch": self.epoch + 1, "steps": (self.epoch + 1) * self.batches,
            "loss": round(sum(self.losses) / len(self.losses), 4),
            "logit_scale": round(float(self.towers.model.logit_scale.detach().exp()), 3),
            "seconds": round(self.seconds, 1),
        }
        self.epoch, self.batch, self.losses = self.epoch + 1, 0, []
        return entry


class Examiner:
    """Evaluates on the valid list by the published protocol."""

    def __init__(self, config: FineTune, valid: Pictures, training: list[Pictures], root: Path):
        """Training holds the sets of the valid list's corpus, for the classes."""
        self.config, self.valid = config, valid
        self.names = evaluate.classes([valid, *training])
        corpus = config.valid.split("_")[0]
        words = evaluate.phrases(self.names, config.labels == "readable", root, corpus)
        self.prompts = [config.template.replace("{}", word) for word in words]

    def figures(
        self, towers: Towers, words: Captions
    ) -> tuple[dict[str, float], list[list[str]]]:
        """Short figures for the log, and the table of predictions."""
        long, table = evaluate.report(
            towers, words, self.valid, self.names, self.prompts, self.config.chunk
        )
        short = {f"top{k}": round(v, 4) for k, v in long["topk"].items()}
        if "retrieval" in long:
            short["mR"] = round(long["retrieval"]["mR"], 4)
        return short, table


def prepare(config: FineTune, base: Path) -> tuple[Trainer, Examiner]:
    """Load checkpoint and data; resumes when the run has a checkpoint. Paths start at base."""
    source, root, cache = base / config.checkpoint, base / config.scenes, base / ".cache"
    model = checkpoint.load_model(source)
    text, vision = model.config.text_config, model.config.vision_config
    preprocessing = checkpoint.load_preprocessing(source, vision.image_size)
    tokenizer = checkpoint.load_tokenizer(source, text.vocab_size)
    words = Captions(tokenizer, config.caption_length, text.max_position_embeddings)

    def read(name: str) -> Pictures:
        return pictures.load_pictures(
            root / f"{name}.jsonl", root / f"{name}.tar.gz", preprocessing.size, cache,
            config.max_images, preprocessing.filter,
        )

    sets = {name: read(name) for name in config.sets}
    corpus = config.valid.split("_")[0]
    alike = [p for name, p in sets.items() if name.split("_")[0] == corpus]
    examiner = Examiner(config, read(config.valid), alike, root)
    training = captions.captioned(pictures.concat(list(sets.values())), config.text_augmentation)
    try:
        model.to(config.device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"device {config.device!r}: {str(error).splitlines()[0]}") from error
    towers = Towers(model, preprocessing, config.bf16)
    trainer = Trainer(config, towers, words, training, base / "runs" / config.name)
    last = trainer.folder / CHECKPOINT
    if last.exists():
        try:
            state = torch.load(last, weights_only=True, map_location="cpu")
        except Exception as error:  # pickle and zip have errors of their own
            raise DataError(f"{last}: not a checkpoint of this program; delete it") from error
        trainer.restore(state)
    return trainer, examiner


def _tidy(folder: Path, keep: set[int]) -> None:
    """Remove the folders of epochs that are neither the best nor the last."""
    for path in folder.glob("epoch-*"):
        number = path.name.removeprefix("epoch-")
        if number.isdecimal() and int(number) not in keep:
            shutil.rmtree(path)


def train(config: FineTune, base: Path) -> Path:
    """Fine-tune to the last epoch and return the run's folder; base is the training folder."""
    torch.set_num_threads(config.threads)
    trainer, examiner = prepare(config, base)
    source, folder = base / config.checkpoint, trainer.folder
    folder.mkdir(parents=True, exist_ok=True)
    if not trainer.log and config.evaluate_first and not trainer.batch:
        figures, _ = examiner.figures(trainer.towers, trainer.words)
        trainer.log.append({"epoch": 0, **figures})
        print(json.dumps(trainer.log[0]), flush=True)
    while not trainer.finished:
        entry = trainer.run_epoch()
        figures, table = examiner.figures(trainer.towers, trainer.words)
        entry.update(figures)
        trainer.log.append(entry)
        # First the folder, then the checkpoint: a kill in between repeats the epoch's end.
        out = folder / f"epoch-{trainer.epoch}"
        checkpoint.save_model(trainer.towers.model, source, out)
        evaluate.write_table(out / "zero_shot.tsv", table)
        trainer.save()
        best = max((e for e in trainer.log if e["epoch"]), key=lambda e: e["top1"])["epoch"]
        if not config.keep_all:
            _tidy(folder, {best, trainer.epoch})
        print(json.dumps(entry), flush=True)
        _describe(trainer, best)
    return folder


def _describe(trainer: Trainer, best: int) -> None:
    """Write run.json: what was run on what, and what came out."""
    run = {
        "commit": _commit(), "config": trainer.config.__dict__, "data": trainer.training.digests,
        "pictures": len(trainer.training), "best": f"epoch-{best}", "log": trainer.log,
        "torch": torch.__version__, "transformers": checkpoint.library().__version__,
    }
    part = trainer.folder / "run.json.part"
    part.write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")
    part.replace(trainer.folder / "run.json")


def main(arguments: list[str] | None = None) -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description="Fine-tune a CLIP checkpoint on captions.")
    parser.add_argument("--config", required=True, help="experiment file (TOML)")
    parser.add_argument("overrides", nargs="*", help="TOML assignments, such as epochs=2")
    args = parser.parse_args(arguments)
    try:
        folder = train(load(args.config, args.overrides), Path(args.config).resolve().parents[1])
    except TrainError as error:
        print(f"finetune: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("finetune: interrupted; the same command goes on", file=sys.stderr)
        return 130
    print(f"finished: {folder.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
