"""Words, templates and concepts: everything between a prompt and token ids."""

from __future__ import annotations

import json
import tomllib
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import torch

PAD, UNKNOWN = 0, 1
LONGEST_ALIAS = 3  # words

# Prompts that a class name is put into: in training one is drawn, in search the mean is taken.
TEMPLATES = (
    "{}",
    "a {}",
    "a satellite image of {}",
    "a satellite photo of a {}",
    "an aerial image of a {}",
    "an aerial photograph of {}",
    "a remote sensing image of many {}",
    "an overhead view of the {}",
    "a photo of a {}",
    "there is a {}",
    "this is {}",
    "many {}",
)
SEARCH_TEMPLATES = TEMPLATES[:8]


@dataclass(frozen=True)
class Concept:
    """One thing to tell apart; names[0] is its label, size is in metres."""

    names: tuple[str, ...]
    size: float
    group: str
    labels: tuple[str, ...]
    overlaps: tuple[str, ...]


def load_concepts() -> tuple[list[Concept], dict[str, str]]:
    """Return the concepts in class order, and the aliases (words to words)."""
    text = resources.files("tilescout_train").joinpath("concepts.toml").read_text(encoding="utf-8")
    table = tomllib.loads(text)
    concepts = [
        Concept(
            tuple(c["names"]), float(c["size"]), c["group"], tuple(c["labels"]),
            tuple(c["overlaps"]),
        )
        for c in table["concept"]
    ]
    return concepts, {str(k): str(v) for k, v in table["aliases"].items()} | load_descriptions()


def load_descriptions() -> dict[str, str]:
    """Return the aliases that describe things which no training picture was labelled with."""
    text = resources.files("tilescout_train").joinpath("concepts.toml").read_text(encoding="utf-8")
    return {str(k): str(v) for k, v in tomllib.loads(text)["descriptions"].items()}


def split_words(text: str) -> list[str]:
    """Split into lower-case runs of letters and decimal digits; apostrophes vanish."""
    text = unicodedata.normalize("NFKC", text).lower()
    out: list[str] = []
    word = ""
    for char in text:
        if char in "'\u2019":
            continue
        if char.isalpha() or unicodedata.category(char) == "Nd":
            word += char
        elif word:
            out.append(word)
            word = ""
    return [*out, word] if word else out


class Tokenizer:
    """Turns prompts into ids; the Go side has the same rules (encoder/tokenizer)."""

    def __init__(self, words: list[str], aliases: dict[str, str], context: int) -> None:
        """Words are in id order and start with the pad and the unknown word."""
        self.words = words
        self.aliases = aliases
        self.context = context
        self.ids = {word: i for i, word in enumerate(words)}
        self._aliases = {tuple(k.split()): v.split() for k, v in aliases.items()}

    def replace_aliases(self, words: list[str]) -> list[str]:
        """Apply the aliases from left to right, the longest match first, once."""
        out: list[str] = []
        i = 0
        while i < len(words):
            for n in range(min(LONGEST_ALIAS, len(words) - i), 0, -1):
                other = self._aliases.get(tuple(words[i : i + n]))
                if other is not None:
                    out += other
                    i += n
                    break
            else:
                out.append(words[i])
                i += 1
        return out

    def lookup(self, word: str) -> int:
        """Id of a word, of its singular, or UNKNOWN."""
        if word in self.ids:
            return self.ids[word]
        for suffix, other in (("ies", "y"), ("es", ""), ("s", "")):
            if word.endswith(suffix):
                stem = word[: len(word) - len(suffix)] + other
                if stem in self.ids:
                    return self.ids[stem]
        return UNKNOWN

    def encode(self, text: str) -> tuple[list[int], list[str]]:
        """Return the ids (not padded, at most context) and the unknown words."""
        words = self.replace_aliases(split_words(text))
        ids = [self.lookup(word) for word in words]
        unknown = [word for word, i in zip(words, ids, strict=True) if i == UNKNOWN]
        return ids[: self.context], unknown

    def batch(self, ids: list[list[int]], length: int = 0) -> torch.Tensor:
        """Pad to length (0: the longest): [B, L]."""
        length = length or max(1, max(len(i) for i in ids))
        out = torch.full((len(ids), length), PAD, dtype=torch.long)
        for row, i in enumerate(ids):
            out[row, : len(i)] = torch.tensor(i[:length], dtype=torch.long)
        return out

    def save(self, path: Path) -> None:
        """Write vocab.json as the encoder reads it."""
        told = load_descriptions()
        aliases = {k: v for k, v in self.aliases.items() if k not in told}
        table = {
            "pad": PAD, "unknown": UNKNOWN, "words": self.words, "aliases": aliases,
            "descriptions": {k: v for k, v in self.aliases.items() if k in told},
        }
        path.write_text(json.dumps(table, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")


def build_tokenizer(
    captions: Iterable[str], concepts: list[Concept], aliases: dict[str, str], context: int,
    least: int = 3,
) -> Tokenizer:
    """Collect the words seen at least so often, plus every word of names and templates."""
    bare = Tokenizer([], aliases, context)
    counts: Counter[str] = Counter()
    for caption in captions:
        counts.update(bare.replace_aliases(split_words(caption)))
    must: Counter[str] = Counter()
    for concept in concepts:
        for name in concept.names:
            must.update(bare.replace_aliases(split_words(name)))
    for template in TEMPLATES:
        must.update(split_words(template.replace("{}", " ")))
    words = sorted({w for w, n in counts.items() if n >= least} | set(must))
    return Tokenizer(["<pad>", "<unk>", *words], aliases, context)
