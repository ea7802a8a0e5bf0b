"""The two towers of a CLIPModel as encode functions, and which of their weights are trained."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import ConfigError
from .checkpoint import Preprocessing
from .config import FineTune

SIGMA = 5.0  # patches; NACLIP's neighbourhood


class Towers:
    """Pictures and token ids in, unit float32 vectors out; the model stays float32."""

    def __init__(self, model: Any, preprocessing: Preprocessing, bf16: bool = False) -> None:
        """bf16 is the format of matrix products only."""
        self.model, self.bf16 = model, bf16
        self.size = preprocessing.size
        self.mean, self.std = preprocessing.mean, preprocessing.std

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.model.logit_scale.device

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.bf16)

    def normalise(self, pixels: Tensor) -> Tensor:
        """uint8 [B, 3, S, S] -> float [B, 3, S, S], zero mean."""
        x = pixels.to(self.device).float() / 255
        mean, std = (
            torch.tensor(v, device=self.device).view(3, 1, 1) for v in (self.mean, self.std)
        )
        return (x - mean) / std

    def images(self, pixels: Tensor) -> Tensor:
        """uint8 [B, 3, S, S] -> [B, D]."""
        with self._autocast():
            pooled = self.model.vision_model(pixel_values=self.normalise(pixels)).pooler_output
            vectors = self.model.visual_projection(pooled)
        return F.normalize(vectors.float(), dim=-1)

    def texts(self, ids: Tensor) -> Tensor:
        """int64 [B, L] -> [B, D]. The end token sees only what stands before it, so no mask."""
        with self._autocast():
            pooled = self.model.text_model(input_ids=ids.to(self.device)).pooler_output
            vectors = self.model.text_projection(pooled)
        return F.normalize(vectors.float(), dim=-1)

    def dense(self, pixels: Tensor) -> Tensor:
        """One vector a patch, uint8 [B, 3, S, S] -> [B, P, D], as NACLIP reads them (reduced).

        Last block: attention of keys to keys plus a neighbourhood, no residual, no MLP.
        """
        vision = self.model.vision_model
        x = vision.pre_layrnorm(vision.embeddings(self.normalise(pixels)))
        for layer in vision.encoder.layers[:-1]:
            out = layer(x, None)
            x = out[0] if isinstance(out, tuple) else out
        last = vision.encoder.layers[-1]
        b, n, width = x.shape
        heads = self.model.config.vision_config.num_attention_heads
        y, attention = last.layer_norm1(x), last.self_attn
        k, v = (
            layer(y).reshape(b, n, heads, width // heads).transpose(1, 2)
            for layer in (attention.k_proj, attention.v_proj)
        )
        near = neighbourhood(round((n - 1) ** 0.5)).to(x.device)
        weights = (k @ k.transpose(-1, -2) * (width // heads) ** -0.5 + near).softmax(-1)
        z = attention.out_proj((weights @ v).transpose(1, 2).reshape(b, n, width))[:, 1:]
        return F.normalize(self.model.visual_projection(vision.post_layernorm(z)), dim=-1)


def neighbourhood(grid: int) -> Tensor:
    """Bias [1 + P, 1 + P] of patches to their neighbours; 0 in the class token's row and column."""
    at = torch.stack(torch.meshgrid(torch.arange(grid), torch.arange(grid), indexing="ij"), -1)
    at = at.reshape(-1, 2).float()  # [P, 2]
    squared = (at[:, None] - at[None]).square().sum(-1)
    return F.pad(torch.exp(-squared / (2 * SIGMA**2)), (1, 0, 1, 0))


def choose_trained(model: Any, config: FineTune) -> None:
    """Set requires_grad on every weight as train_image, train_text and train_scale say."""
    model.requires_grad_(False)
    model.logit_scale.requires_grad_(config.train_scale)
    for key, tower, norm, projection in (
        ("train_image", model.vision_model, "post_layernorm", model.visual_projection),
        ("train_text", model.text_model, "final_layer_norm", model.text_projection),
    ):
        count, layers = config.blocks(key), tower.encoder.layers
        if count == 0:
            continue
        projection.requires_grad_(True)
        if count is None:
            tower.requires_grad_(True)
        elif count > len(layers):
            raise ConfigError(f"{key} is last:{count}, but the tower has {len(layers)} blocks")
        else:
            getattr(tower, norm).requires_grad_(True)
            for layer in layers[len(layers) - count :]:
                layer.requires_grad_(True)


def trained(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    """Names and weights that take part in the optimisation."""
    return [(name, p) for name, p in model.named_parameters() if p.requires_grad]
