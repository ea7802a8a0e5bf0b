"""The training loop: `python -m tilescout_train.train --config FILE [KEY=VALUE ...]`."""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from . import data, evaluate, teach, text
from .config import Config, load
from .data import Scenes
from .errors import TrainError
from .loss import Memory, caption_loss, class_loss
from .model import Average, DualEncoder, normalise

CHECKPOINT = "last.pt"
STALL = 20.0  # seconds of one step that count at most: the rest, the machine was stopped


def learning_rate(config: Config, progress: float, warmup: float) -> float:
    """Share of the base rate at progress 0..1: linear warm-up, then cosine to lr_end."""
    if progress < warmup:
        return max(progress / warmup, 0.01)
    at = (progress - warmup) / max(1e-9, 1 - warmup)
    return config.lr_end + (1 - config.lr_end) * 0.5 * (1 + math.cos(math.pi * min(1.0, at)))


class Trainer:
    """Holds everything that a checkpoint must bring back."""

    def __init__(
        self, config: Config, scenes: Scenes, tokenizer: text.Tokenizer,
        concepts: list[text.Concept], folder: Path,
    ) -> None:
        """Seeds all randomness; nothing is read from disk here."""
        torch.manual_seed(config.seed)
        self.config, self.scenes, self.tokenizer, self.folder = config, scenes, tokenizer, folder
        self.device = torch.device(config.device)
        model = DualEncoder(config, len(tokenizer.words)).to(self.device)
        self.model = model.to(memory_format=torch.channels_last)
        self.average = Average(self.model, config.ema)
        self.random = torch.Generator().manual_seed(config.seed)
        self.epoch = 0
        self.seconds = 0.0  # spent in training, over all starts of the run
        self.memory = Memory(config.caption_memory, config.dimension)
        self.log: list[dict[str, Any]] = []
        self.image_optimiser, self.text_optimiser = self._optimisers()
        self.class_prompts = [
            [tokenizer.encode(t.replace("{}", n))[0] for n in c.names for t in text.TEMPLATES]
            for c in concepts
        ]
        self.label_prompts = [
            [tokenizer.encode(t.replace("{}", c.names[0]))[0] for t in text.TEMPLATES]
            for c in concepts
        ]
        self.captions = [[tokenizer.encode(s)[0] for s in c] for c in scenes.captions]
        self.extra = [[tokenizer.encode(s)[0] for s in c] for c in scenes.extra_captions]
        self.real = torch.nonzero(~scenes.painted)[:, 0]
        self.painted = torch.nonzero(scenes.painted)[:, 0]
        self.sheets = data.label_sheets(256 if config.label_probability else 0, 168, config.seed)
        self.by_group: dict[int, list[int]] = {}
        for i, (group, told) in enumerate(zip(scenes.group.tolist(), self.captions, strict=True)):
            if told:
                self.by_group.setdefault(group, []).append(i)

    def _optimisers(self) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer]:
        decay, plain = [], []
        for p in self.model.image.parameters():
            (decay if p.ndim > 1 else plain).append(p)
        c = self.config
        image = torch.optim.SGD(
            [{"params": decay, "weight_decay": c.weight_decay}, {"params": plain}],
            lr=c.lr, momentum=0.9, nesterov=True,
        )
        words = [
            *self.model.text.parameters(), self.model.log_scale, self.model.log_caption_scale
        ]
        decay = [p for p in words if p.ndim > 1]
        plain = [p for p in words if p.ndim <= 1]
        texts = torch.optim.AdamW(
            [{"params": decay, "weight_decay": c.text_weight_decay},
             {"params": plain, "weight_decay": 0.0}],
            lr=c.text_lr, betas=(0.9, 0.98),
        )
        return image, texts

    def state(self) -> dict[str, Any]:
        """Everything that resuming needs."""
        return {
            "epoch": self.epoch, "seconds": self.seconds, "log": self.log,
            "model": self.model.state_dict(), "ema": self.average.model.state_dict(),
            "ema_steps": self.average.steps,
            "image_optimiser": self.image_optimiser.state_dict(),
            "text_optimiser": self.text_optimiser.state_dict(),
            "random": self.random.get_state(), "words": self.tokenizer.words,
            "memory": self.memory.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from a checkpoint of this run."""
        self.start_from(state)
        self.epoch, self.log = state["epoch"], state["log"]
        self.seconds = state.get("seconds", 0.0)
        self.average.steps = state["ema_steps"]
        self.image_optimiser.load_state_dict(state["image_optimiser"])
        self.text_optimiser.load_state_dict(state["text_optimiser"])
        self.random.set_state(state["random"])
        if "memory" in state:
            self.memory.restore(state["memory"])

    def start_from(self, state: dict[str, Any]) -> None:
        """Take over the weights of another run; words that it did not have start afresh."""
        old = {word: i for i, word in enumerate(state["words"])}
        here = [i for i, w in enumerate(self.tokenizer.words) if w in old]
        there = [old[self.tokenizer.words[i]] for i in here]
        for model, weights in ((self.model, state["model"]), (self.average.model, state["ema"])):
            table = model.state_dict()
            words = table["text.token.weight"].clone()
            words[here] = weights["text.token.weight"][there]
            model.load_state_dict({**table, **weights, "text.token.weight": words})
        self.average.steps = state["ema_steps"]

    def save(self) -> None:
        """Write the checkpoint so that a kill leaves the old or the new one."""
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self.folder / (CHECKPOINT + ".part")
        with part.open("wb") as f:
            torch.save(self.state(), f)
            f.flush()
            os.fsync(f.fileno())
        part.replace(self.folder / CHECKPOINT)

    def _choice(self, n: int) -> int:
        return int(torch.randint(0, n, (1,), generator=self.random))

    def _caption(self, i: int) -> list[int]:
        """Draw a caption of picture i; a tenth of the words drop out or become unknown."""
        pool = self.captions[i]
        if self.extra[i] and (not pool or self._choice(100) < 15):
            pool = self.extra[i]
        ids = pool[self._choice(len(pool))]
        roll = torch.rand(len(ids), generator=self.random).tolist()
        ids = [text.UNKNOWN if r < 0.02 else w for w, r in zip(ids, roll, strict=True) if r < 0.92]
        return ids or [text.UNKNOWN]

    def _same_class(self, i: int) -> int:
        """Draw a captioned picture of picture i's class."""
        pool = self.by_group[int(self.scenes.group[i])]
        return pool[self._choice(len(pool))]

    def _told(self, pictures: list[int], ids: list[list[int]]) -> Tensor:
        """Int [M, 3]: picture, class and sentence (the same words in the same order)."""
        groups = self.scenes.group[pictures].tolist()
        return torch.tensor(
            [[p, c, hash(tuple(i))] for p, c, i in zip(pictures, groups, ids, strict=True)]
        )

    def progress(self, batch: int, batches: int) -> float:
        """Share of the run that is done, by time where the experiment has a budget of minutes."""
        if self.config.minutes:
            return min(1.0, self.seconds / (60 * self.config.minutes))
        return (self.epoch + batch / batches) / self.config.epochs

    @property
    def finished(self) -> bool:
        """Whether the schedule has come to its end."""
        if self.config.minutes:
            return self.seconds >= 60 * self.config.minutes
        return self.epoch >= self.config.epochs

    def _prompts(self) -> list[list[int]]:
        """One prompt a class: the label itself half of the time, else any name."""
        return [
            label[self._choice(len(label))] if self._choice(2) else names[self._choice(len(names))]
            for label, names in zip(self.label_prompts, self.class_prompts, strict=True)
        ]

    def step(self, rows: Tensor, size: int, mixing: bool) -> dict[str, float]:
        """One update from the pictures with these row numbers."""
        c, g, s = self.config, self.random, self.scenes
        area = c.crop_area if mixing else c.crop_area_late or c.crop_area
        x = data.geometric(s.pixels[rows], size, area, g)
        if c.label_probability:
            x = data.lay_labels(x, self.sheets, c.label_probability, g)
        if c.blank_probability:
            x = data.blank_parts(x, c.blank_probability, g)
        x = data.photometric(x, c, g)
        target, allowed = s.target[rows], s.allowed[rows]
        mixed = mixing and float(torch.rand(1, generator=g)) < c.mix_probability
        if mixed:
            x, target, allowed = data.mix(x, target, allowed, g, c.mosaic_share)
        told = [] if mixed else [j for j, i in enumerate(rows.tolist()) if self.captions[i]]
        prompts = self._prompts()
        short = self.tokenizer.batch(prompts).to(self.device)
        about = rows[told].tolist() if told else []
        if c.hard_captions:
            about += [self._same_class(i) for i in about]
        told_ids = [self._caption(i) for i in about]
        x, target, allowed = (t.to(self.device) for t in (x, target, allowed))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=c.bf16):
            classes = self.model.text(short).float()
            images = self.model.image(normalise(x)).float()
        scale = self.model.scale()
        ce = class_loss(scale * images @ classes.T, target, allowed, c.label_smoothing)
        loss, parts = ce, {"class": float(ce.detach())}
        if told:
            pick = torch.tensor(told)
            with torch.autocast(self.device.type, torch.bfloat16, enabled=c.bf16):
                sentences = self.model.text(self.tokenizer.batch(told_ids).to(self.device))
            mine, keys = images[pick.to(self.device)], self._told(about, told_ids).to(self.device)
            cap = caption_loss(
                mine, sentences.float(), self.model.caption_scale(), keys, c.same_class_weight,
                self.memory,
            )
            self.memory.add(mine, sentences[: len(mine)].float(), keys[: len(mine)])
            loss = loss + c.caption_weight * cap
            parts["caption"] = float(cap.detach())
        self.image_optimiser.zero_grad(set_to_none=True)
        self.text_optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.text.parameters(), 1.0)
        self.image_optimiser.step()
        self.text_optimiser.step()
        self.average.update(self.model)
        if not math.isfinite(float(loss.detach())):
            raise TrainError(f"the loss is {float(loss.detach())} in epoch {self.epoch}")
        return parts

    def run_epoch(self) -> dict[str, Any]:
        """One pass over the real pictures; painted ones fill their share of each batch.

        A budget of minutes may end it early.
        """
        c = self.config
        painted = round(c.batch * c.painted_share) if len(self.painted) else 0
        order = self.real[torch.randperm(len(self.real), generator=self.random)]
        batches = [b for b in order.split(c.batch - painted) if len(b) >= 2]
        sums: dict[str, list[float]] = {}
        self.model.train()
        size = c.size_at(self.progress(0, len(batches)))
        mixing = self.progress(0, len(batches)) < c.mix_off
        warmup = c.warmup * 0.01 if c.minutes else c.warmup / c.epochs
        share, done, pictures, before = 0.0, 0, 0, self.seconds
        last = time.monotonic()
        bar = tqdm(batches, desc=f"epoch {self.epoch + 1} @{size}", disable=None)
        for i, rows in enumerate(bar):
            progress = self.progress(i, len(batches))
            if progress >= 1:
                break
            share = learning_rate(c, progress, warmup)
            for optimiser, rate in (
                (self.image_optimiser, c.lr), (self.text_optimiser, c.text_lr)
            ):
                for group in optimiser.param_groups:
                    group["lr"] = rate * share
            if painted:
                draw = torch.randint(0, len(self.painted), (painted,), generator=self.random)
                rows = torch.cat([rows, self.painted[draw]])
            for k, v in self.step(rows, size, mixing).items():
                sums.setdefault(k, []).append(v)
            done, pictures = done + 1, pictures + len(rows)
            now = time.monotonic()
            self.seconds += min(now - last, STALL)
            last = now
        seconds = self.seconds - before
        self.epoch += 1
        return {
            "epoch": self.epoch, "size": size, "seconds": round(seconds, 1),
            "batches": done, "images_per_second": round(pictures / max(seconds, 1e-9), 1),
            "scale": round(float(self.model.scale().detach()), 2),
            "caption_scale": round(float(self.model.caption_scale().detach()), 2),
            "lr": round(c.lr * share, 5),
            **{k: round(sum(v) / len(v), 4) for k, v in sums.items()},
        }

    def figures(self, valid: Scenes, root: Path) -> dict[str, float]:
        """Figures of the averaged weights on the valid split."""
        encoders = evaluate.torch_encoders(self.average.model, self.tokenizer, self.config.bf16)
        table = evaluate.report(*encoders, valid, root, self.config.evaluate_size)
        return {
            "top1": round(table["topk"][1], 4), "top3": round(table["topk"][3], 4),
            "mR": round(table["retrieval"]["mR"], 4),
        }


def prepare(config: Config, base: Path) -> Trainer:
    """Load data and vocabulary and build the trainer; resumes when the run has a checkpoint."""
    concepts, aliases = text.load_concepts()
    scenes = teach.soften(config, concepts, data.load_training(config, concepts, base), base)
    sentences = [s for c in scenes.captions + scenes.extra_captions for s in c]
    tokenizer = text.build_tokenizer(sentences, concepts, aliases, config.context)
    folder = base / "runs" / config.name
    trainer = Trainer(config, scenes, tokenizer, concepts, folder)
    last = folder / CHECKPOINT
    if last.exists():
        trainer.restore(torch.load(last, weights_only=True))
    elif config.init:
        trainer.start_from(torch.load(base / config.init, weights_only=True))
    return trainer


def _commit() -> str:
    done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def train(config: Config, base: Path) -> Path:
    """Train to the last epoch and return the run's folder; base is the training folder."""
    torch.set_num_threads(config.threads)
    trainer = prepare(config, base)
    concepts, _ = text.load_concepts()
    valid = data.load_set(base / config.scenes, "rsicd_valid", concepts, config.stored_size,
                          config.max_images, base / ".cache")
    trainer.folder.mkdir(parents=True, exist_ok=True)
    trainer.tokenizer.save(trainer.folder / "vocab.json")
    while not trainer.finished:
        entry = trainer.run_epoch()
        if trainer.finished or trainer.epoch % config.evaluate_every == 0:
            entry.update(trainer.figures(valid, base / config.scenes))
        trainer.log.append(entry)
        trainer.save()
        print(json.dumps(entry), flush=True)
    run = {
        "commit": _commit(), "config": config.__dict__, "data": trainer.scenes.digests,
        "pictures": len(trainer.scenes), "words": len(trainer.tokenizer.words),
        "log": trainer.log, "torch": torch.__version__,
    }
    (trainer.folder / "run.json").write_text(json.dumps(run, indent=1), encoding="utf-8")
    return trainer.folder


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description="Train the bundled dual encoder.")
    parser.add_argument("--config", required=True, help="experiment file (TOML)")
    parser.add_argument("overrides", nargs="*", help="TOML assignments, such as epochs=2")
    args = parser.parse_args()
    try:
        folder = train(load(args.config, args.overrides), Path(args.config).resolve().parents[1])
    except TrainError as error:
        print(f"train: {error}", file=sys.stderr)
        return 2
    print(f"finished: {folder.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
