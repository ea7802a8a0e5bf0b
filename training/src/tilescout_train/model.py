"""The dual encoder: a ResNet-D for pictures and a small transformer for word sequences."""

from __future__ import annotations

import copy
import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import Config

MEAN = (0.36, 0.37, 0.34)  # rough channel means of the training scenes, in 0..1
STD = (0.20, 0.19, 0.19)


class ConvNorm(nn.Sequential):
    """Convolution and batch norm, which export folds into one."""

    def __init__(self, cin: int, cout: int, kernel: int, stride: int = 1) -> None:
        """Padding keeps the size for stride 1."""
        super().__init__(
            nn.Conv2d(cin, cout, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(cout)
        )


class Block(nn.Module):
    """Basic residual block; the shortcut pools before its 1x1 convolution (ResNet-D)."""

    def __init__(self, cin: int, cout: int, stride: int) -> None:
        """Stride belongs to the first convolution."""
        super().__init__()
        self.conv1 = ConvNorm(cin, cout, 3, stride)
        self.conv2 = ConvNorm(cout, cout, 3)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or cin != cout:
            pool = nn.AvgPool2d(2, 2, ceil_mode=True, count_include_pad=False)
            self.shortcut = nn.Sequential(
                pool if stride == 2 else nn.Identity(), ConvNorm(cin, cout, 1)
            )
        nn.init.zeros_(self.conv2[1].weight)  # starts as the identity: steadier at a high rate

    def forward(self, x: Tensor) -> Tensor:
        """[B, cin, h, w] -> [B, cout, h/stride, w/stride]."""
        return F.relu(self.conv2(F.relu(self.conv1(x))) + self.shortcut(x))


class ImageTower(nn.Module):
    """Pixels -> unit embedding; the same projection serves every cell of the last map."""

    def __init__(self, widths: tuple[int, ...], blocks: tuple[int, ...], dimension: int) -> None:
        """Widths and block counts of the stages."""
        super().__init__()
        w = widths[0]
        self.stem = nn.Sequential(
            ConvNorm(3, w // 2, 3, 2), nn.ReLU(), ConvNorm(w // 2, w // 2, 3), nn.ReLU(),
            ConvNorm(w // 2, w, 3), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
        )
        layers: list[nn.Module] = []
        cin = w
        for stage, (cout, count) in enumerate(zip(widths, blocks, strict=True)):
            for i in range(count):
                layers.append(Block(cin, cout, 2 if stage > 0 and i == 0 else 1))
                cin = cout
        self.body = nn.Sequential(*layers)
        self.project = nn.Linear(cin, dimension)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def features(self, x: Tensor) -> Tensor:
        """[B, 3, S, S] normalised -> [B, C, S/32, S/32]."""
        return self.body(self.stem(x))

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, S, S] normalised -> [B, D] unit length."""
        pooled = self.features(x).float().mean((2, 3))
        return F.normalize(F.linear(pooled, self.project.weight, self.project.bias), dim=-1)


class TextBlock(nn.Module):
    """Pre-norm attention and MLP."""

    def __init__(self, width: int, heads: int) -> None:
        """The MLP is four times as wide."""
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """x [B, L, W], bias [B, 1, 1, L] (0 or very negative on padding) -> [B, L, W]."""
        b, n, w = x.shape
        split = (b, n, self.heads, w // self.heads)
        q, k, v = self.qkv(self.norm1(x)).split(w, dim=-1)
        q, k, v = (t.reshape(split).transpose(1, 2) for t in (q, k, v))  # [B, H, L, W/H]
        weights = (q @ k.transpose(-1, -2) / math.sqrt(w // self.heads) + bias).softmax(-1)
        x = x + self.out((weights @ v).transpose(1, 2).reshape(b, n, w))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class TextTower(nn.Module):
    """Token ids -> unit embedding; mean over the real tokens."""

    def __init__(
        self, words: int, context: int, width: int, layers: int, heads: int, dimension: int
    ) -> None:
        """Words counts the vocabulary with pad and unknown."""
        super().__init__()
        self.token = nn.Embedding(words, width)
        self.position = nn.Parameter(torch.randn(context, width) * 0.01)
        self.blocks = nn.ModuleList(TextBlock(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.project = nn.Linear(width, dimension)
        nn.init.normal_(self.token.weight, std=0.02 * math.sqrt(256 / width) * 2)

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, L] -> [B, D] unit length."""
        real = (tokens != 0).float()  # [B, L]
        bias = ((1 - real) * -1e4)[:, None, None, :]
        x = self.token(tokens) + self.position[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x, bias)
        x = self.norm(x) * real[..., None]
        pooled = x.sum(1) / real.sum(1, keepdim=True).clamp(min=1)
        return F.normalize(self.project(pooled), dim=-1)


class DualEncoder(nn.Module):
    """Both towers and the logit scale."""

    def __init__(self, config: Config, words: int) -> None:
        """Words counts the vocabulary."""
        super().__init__()
        self.image = ImageTower(config.widths, config.blocks, config.dimension)
        self.text = TextTower(
            words, config.context, config.text_width, config.text_layers, config.text_heads,
            config.dimension,
        )
        self.log_scale = nn.Parameter(torch.tensor(math.log(14.0)))
        # Sentences of one class differ by little, so they need a steeper softmax than the classes.
        self.log_caption_scale = nn.Parameter(torch.tensor(math.log(20.0)))

    def scale(self) -> Tensor:
        """Logit scale of the classes, at most 100 as in CLIP."""
        return self.log_scale.exp().clamp(max=100.0)

    def caption_scale(self) -> Tensor:
        """Logit scale of the captions, at most 100."""
        return self.log_caption_scale.exp().clamp(max=100.0)


def normalise(pixels: Tensor) -> Tensor:
    """Pixels [B, 3, S, S] in 0..255 -> zero mean, unit deviation, channels last."""
    mean = torch.tensor(MEAN, device=pixels.device).view(3, 1, 1) * 255
    std = torch.tensor(STD, device=pixels.device).view(3, 1, 1) * 255
    return ((pixels.float() - mean) / std).contiguous(memory_format=torch.channels_last)


class Average:
    """Exponential moving average of weights and batch statistics."""

    def __init__(self, model: nn.Module, decay: float) -> None:
        """Starts as a copy of the model."""
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay
        self.steps = 0

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move towards the model; faster in the first steps."""
        self.steps += 1
        keep = min(self.decay, self.steps / (self.steps + 10))
        own, new = self.model.state_dict(), model.state_dict()
        floats = [k for k in own if own[k].is_floating_point()]
        torch._foreach_lerp_([own[k] for k in floats], [new[k] for k in floats], 1 - keep)
        for k in own.keys() - set(floats):
            own[k].copy_(new[k])
