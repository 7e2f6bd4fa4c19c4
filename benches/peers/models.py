"""The networks of a Sinter configuration in PyTorch, layer for layer.

Written for speed comparisons: plain modules in the usual style, `channels_first`, `scaled_dot_product_attention`. The
number of parameters must equal Sinter's, which `performance.py` checks.
"""

import math

import torch
from torch import nn
from torch.nn import functional as F


def frequencies(features):
    half = features // 2
    return torch.exp(-math.log(10_000) * torch.arange(half) / half)


class Conditioning(nn.Module):
    """Time label and class to one vector [b, d]."""

    def __init__(self, features, width, classes, null_class):
        super().__init__()
        self.register_buffer("frequencies", frequencies(features), persistent=False)
        self.mlp = nn.Sequential(nn.Linear(features, width), nn.SiLU(), nn.Linear(width, width))
        self.classes = nn.Embedding(classes + null_class, width) if classes else None

    def forward(self, label, classes):
        angle = label[:, None] * self.frequencies
        embedding = self.mlp(torch.cat([angle.cos(), angle.sin()], 1))
        if self.classes is not None:
            embedding = embedding + self.classes(classes)
        return F.silu(embedding)


class ResidualBlock(nn.Module):
    def __init__(self, inputs, outputs, embedding, config, resample=None):
        super().__init__()
        groups = config["groups"]
        self.scale_shift = config["scale_shift_norm"]
        self.resample = resample
        self.input_norm = nn.GroupNorm(groups, inputs)
        self.input_convolution = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.embedding = nn.Linear(embedding, outputs * (2 if self.scale_shift else 1))
        self.output_norm = nn.GroupNorm(groups, outputs)
        self.dropout = nn.Dropout(config["dropout"])
        self.output_convolution = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.skip = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def resized(self, x):
        if self.resample == "halve":
            return F.avg_pool2d(x, 2)
        if self.resample == "double":
            return F.interpolate(x, scale_factor=2, mode="nearest")
        return x

    def forward(self, x, embedding):
        h = self.input_convolution(self.resized(F.silu(self.input_norm(x))))
        embedding = self.embedding(embedding)[:, :, None, None]
        if self.scale_shift:
            scale, shift = embedding.chunk(2, 1)
            h = self.output_norm(h) * (1 + scale) + shift
        else:
            h = self.output_norm(h + embedding)
        h = self.output_convolution(self.dropout(F.silu(h)))
        return self.skip(self.resized(x)) + h


class PixelAttention(nn.Module):
    def __init__(self, channels, heads, groups):
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(groups, channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.projection = nn.Linear(channels, channels)

    def forward(self, x, _):
        tokens = self.norm(x).flatten(2).transpose(1, 2)
        return x + self.projection(attention(self.qkv(tokens), self.heads)).transpose(1, 2).reshape(x.shape)


def attention(qkv, heads):
    b, n, packed = qkv.shape
    q, k, v = qkv.reshape(b, n, 3, heads, packed // (3 * heads)).permute(2, 0, 3, 1, 4)
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, packed // 3)


class Strided(nn.Conv2d):
    def forward(self, x, _):
        return super().forward(x)


class Doubling(nn.Conv2d):
    def forward(self, x, _):
        return super().forward(F.interpolate(x, scale_factor=2, mode="nearest"))


class Unet(nn.Module):
    def __init__(self, config, channels, size, classes):
        super().__init__()
        base, patch, groups = config["channels"], config["patch"], config["groups"]
        embedding = 4 * base
        self.patch = patch
        self.conditioning = Conditioning(base, embedding, classes, config["null_class"])
        widths = [multiplier * base for multiplier in config["multipliers"]]
        sizes = [size // patch >> level for level in range(len(widths))]

        def heads(width):
            return width // config["head_channels"] if "head_channels" in config else config["heads"]

        def block(inputs, width, level):
            layers = [ResidualBlock(inputs, width, embedding, config)]
            if sizes[level] in config["attention"]:
                layers.append(PixelAttention(width, heads(width), groups))
            return layers

        def resample(width, change):
            if config["residual_resample"]:
                return ResidualBlock(width, width, embedding, config, change)
            return Strided(width, width, 3, 2, 1) if change == "halve" else Doubling(width, width, 3, 1, 1)

        width, kept = widths[0], [widths[0]]
        self.first = nn.Conv2d(channels * patch * patch, width, 3, padding=1)
        down, up = [], []
        for level, own in enumerate(widths):
            for _ in range(config["blocks"]):
                down.append(nn.ModuleList(block(width, own, level)))
                width = own
                kept.append(width)
            if level + 1 < len(widths):
                down.append(nn.ModuleList([resample(width, "halve")]))
                kept.append(width)
        self.middle = nn.ModuleList(
            [
                ResidualBlock(width, width, embedding, config),
                PixelAttention(width, heads(width), groups),
                ResidualBlock(width, width, embedding, config),
            ]
        )
        for level, own in reversed(list(enumerate(widths))):
            for index in range(config["blocks"] + 1):
                layers = block(width + kept.pop(), own, level)
                width = own
                if level > 0 and index == config["blocks"]:
                    layers.append(resample(width, "double"))
                up.append(nn.ModuleList(layers))
        self.down, self.up = nn.ModuleList(down), nn.ModuleList(up)
        self.output_norm = nn.GroupNorm(groups, width)
        outputs = channels * (2 if config["learned_variance"] else 1)
        self.output_convolution = nn.Conv2d(width, outputs * patch * patch, 3, padding=1)

    def forward(self, x, label, classes):
        embedding = self.conditioning(label, classes)
        h = self.first(F.pixel_unshuffle(x, self.patch))
        kept = [h]
        for layers in self.down:
            for layer in layers:
                h = layer(h, embedding)
            kept.append(h)
        for layer in self.middle:
            h = layer(h, embedding)
        for layers in self.up:
            h = torch.cat([h, kept.pop()], 1)
            for layer in layers:
                h = layer(h, embedding)
        return F.pixel_shuffle(self.output_convolution(F.silu(self.output_norm(h))), self.patch)


def modulated_norm(x, shift, scale):
    return F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale[:, None]) + shift[:, None]


class DitBlock(nn.Module):
    def __init__(self, width, heads, hidden):
        super().__init__()
        self.heads = heads
        self.qkv, self.projection = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU("tanh"), nn.Linear(hidden, width))
        self.modulation = nn.Linear(width, 6 * width)

    def forward(self, x, embedding):
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = self.modulation(embedding).chunk(6, 1)
        h = self.projection(attention(self.qkv(modulated_norm(x, shift, scale)), self.heads))
        x = x + gate[:, None] * h
        return x + mlp_gate[:, None] * self.mlp(modulated_norm(x, mlp_shift, mlp_scale))


class Dit(nn.Module):
    def __init__(self, config, channels, size, classes):
        super().__init__()
        width, self.patch = config["width"], config["patch"]
        self.outputs = channels * (2 if config["learned_variance"] else 1)
        self.rows = size // self.patch
        self.patches = nn.Conv2d(channels, width, self.patch, self.patch)
        self.register_buffer("positions", torch.randn(1, self.rows**2, width), persistent=False)
        self.conditioning = Conditioning(256, width, classes, config["null_class"])
        hidden = round(width * config["mlp_ratio"])
        self.blocks = nn.ModuleList(DitBlock(width, config["heads"], hidden) for _ in range(config["depth"]))
        self.modulation = nn.Linear(width, 2 * width)
        self.projection = nn.Linear(width, self.patch**2 * self.outputs)

    def forward(self, x, label, classes):
        embedding = self.conditioning(label, classes)
        tokens = self.patches(x).flatten(2).transpose(1, 2) + self.positions
        for block in self.blocks:
            tokens = block(tokens, embedding)
        tokens = self.projection(modulated_norm(tokens, *self.modulation(embedding).chunk(2, 1)))
        b, p = x.shape[0], self.patch
        tokens = tokens.reshape(b, self.rows, self.rows, p, p, self.outputs).permute(0, 5, 1, 3, 2, 4)
        return tokens.reshape(b, self.outputs, self.rows * p, self.rows * p)


class MlpBlock(nn.Module):
    def __init__(self, width, hidden, dropout):
        super().__init__()
        self.modulation = nn.Linear(width, 3 * width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.SiLU(), nn.Linear(hidden, width), nn.Dropout(dropout))

    def forward(self, x, embedding):
        shift, scale, gate = self.modulation(embedding).chunk(3, 1)
        return x + gate[:, None] * self.mlp(modulated_norm(x, shift, scale))


class Mlp(nn.Module):
    """Looks at an image as one token."""

    def __init__(self, config, channels, size, classes):
        super().__init__()
        width, values = config["width"], channels * size * size
        self.input = nn.Linear(values, width)
        self.conditioning = Conditioning(128, width, classes, config["null_class"])
        hidden, dropout = int(width * config["mlp_ratio"]), config.get("dropout", 0.0)
        self.blocks = nn.ModuleList(MlpBlock(width, hidden, dropout) for _ in range(config["depth"]))
        self.modulation = nn.Linear(width, 2 * width)
        self.output = nn.Linear(width, values)

    def forward(self, x, label, classes):
        embedding = self.conditioning(label, classes)
        h = self.input(x.flatten(1)[:, None])
        for block in self.blocks:
            h = block(h, embedding)
        return self.output(modulated_norm(h, *self.modulation(embedding).chunk(2, 1))).reshape(x.shape)


def build(config, channels, size, classes):
    """The network of a resolved `[model]` section for square images of `size` pixels."""
    kinds = {"unet": Unet, "dit": Dit, "mlp": Mlp}
    if config["type"] not in kinds:
        raise SystemExit(f"no PyTorch form of `{config['type']}`; there are {', '.join(kinds)}")
    return kinds[config["type"]](config, channels, size, classes)
