"""Times the operations of `sinter bench ops` in PyTorch, at the same sizes; prints one JSON object.

    target/release/sinter bench ops --json operations.json
    python benches/peers/torch_ops.py operations.json --threads 2 [--compile] [--seconds 0.5]

Each operation is written as is usual in PyTorch. `forward` is without gradients; `both` makes the gradients of all
inputs, too, from a given gradient of the output. Operations that PyTorch has no form of here are null. `ceiling` is
what the machine gives PyTorch: a product of two matrices of 2048 x 2048 and a copy of 256 MiB (read and written).
"""

import argparse
import json
import os
import pathlib
import statistics
import time

import torch
from torch.nn import functional as F

import models

WARM, LEAST, MOST = 3, 5, 200


def timing(call, seconds):
    """Of calls for so many seconds, at least `LEAST` and at most `MOST`, after `WARM` that do not count."""
    for _ in range(WARM):
        call()
    times, end = [], time.perf_counter() + seconds
    while len(times) < LEAST or (len(times) < MOST and time.perf_counter() < end):
        begin = time.perf_counter()
        call()
        times.append(1e3 * (time.perf_counter() - begin))
    return {"median_ms": statistics.median(times), "fastest_ms": min(times), "slowest_ms": max(times)}


def layer_norm_modulate(x, shift, scale):
    return F.layer_norm(x, x.shape[-1:], eps=1e-6) * (1 + scale[:, None]) + shift[:, None]


def gate_residual(x, y, gate):
    return x + gate[:, None] * y


def group_norm(groups):
    return lambda x, weight, bias: F.silu(F.group_norm(x, groups, weight, bias))


def group_norm_modulate(groups):
    def apply(x, weight, bias, shift, scale):
        x = F.group_norm(x, groups, weight, bias)
        return F.silu(x * (1 + scale[:, :, None, None]) + shift[:, :, None, None])

    return apply


def differentiable(name, size):
    """A function and the shapes of its inputs, or nothing."""
    match name:
        case "silu":
            return F.silu, [[size["elements"]]]
        case "gelu_tanh":
            return lambda x: F.gelu(x, approximate="tanh"), [[size["elements"]]]
        case "linear":
            rows, inputs, outputs = size["rows"], size["inputs"], size["outputs"]
            return F.linear, [[rows, inputs], [outputs, inputs], [outputs]]
        case "packed_attention":
            shape = [size["batch"], size["tokens"], 3 * size["width"]]
            return lambda qkv: models.attention(qkv, size["heads"]), [shape]
        case "attention":
            batch, heads, width = size["batch"], size["heads"], size["width"] // size["heads"]
            queries, keys = [batch, heads, size["queries"], width], [batch, heads, size["keys"], width]
            return F.scaled_dot_product_attention, [queries, keys, keys]
        case "layer_norm_modulate" | "gate_residual":
            x, vector = [size["batch"], size["tokens"], size["width"]], [size["batch"], size["width"]]
            if name == "gate_residual":
                return gate_residual, [x, x, vector]
            return layer_norm_modulate, [x, vector, vector]
        case "group_norm" | "group_norm_modulate":
            channels, vector = [size["channels"]], [size["batch"], size["channels"]]
            inputs = [[*vector, size["height"], size["width"]], channels, channels]
            if name == "group_norm":
                return group_norm(size["groups"]), inputs
            return group_norm_modulate(size["groups"]), [*inputs, vector, vector]
        case "conv2d":
            inputs, outputs, kernel = size["inputs"], size["outputs"], size["kernel"]
            image = [size["batch"], inputs, size["height"], size["width"]]
            stride, padding = size["stride"], size["padding"]
            shapes = [image, [outputs, inputs, kernel, kernel], [outputs]]
            return lambda x, weight, bias: F.conv2d(x, weight, bias, stride, padding), shapes
        case "upsample_nearest_2x" | "average_pool_2x":
            image = [size["batch"], size["channels"], size["height"], size["width"]]
            if name == "average_pool_2x":
                return lambda x: F.avg_pool2d(x, 2), [image]
            return lambda x: F.interpolate(x, scale_factor=2, mode="nearest"), [image]
    return None


def update(name, size):
    """A call that updates or reads one tensor of so many elements, or nothing."""
    x = torch.randn(size.get("elements", 0), requires_grad=name == "adamw")
    match name:
        case "adamw":
            x.grad = torch.randn_like(x)
            return torch.optim.AdamW([x], lr=1e-4, weight_decay=0.0, foreach=True).step
        case "ema":
            average = torch.randn_like(x)
            return lambda: torch._foreach_lerp_([average], [x], 1e-3)
        case "square_norm":
            return lambda: torch.linalg.vector_norm(x).square()
    return None


def measure(name, size, compiled, seconds):
    torch._dynamo.reset()
    maybe_compiled = (lambda call: torch.compile(call, dynamic=False)) if compiled else lambda call: call
    if (call := update(name, size)) is not None:
        with torch.no_grad():
            return {"forward": timing(maybe_compiled(call), seconds), "both": None}
    if (form := differentiable(name, size)) is None:
        return {"forward": None, "both": None}
    call, inputs = maybe_compiled(form[0]), [torch.randn(shape, requires_grad=True) for shape in form[1]]
    with torch.no_grad():
        gradient = torch.randn_like(call(*inputs))
        forward = timing(lambda: call(*inputs), seconds)
    return {
        "forward": forward,
        "both": timing(lambda: torch.autograd.grad(call(*inputs), inputs, gradient), seconds),
    }


def ceiling(seconds):
    a, b = torch.randn(2048, 2048), torch.randn(2048, 2048)
    product = timing(lambda: torch.mm(a, b), seconds)["fastest_ms"]
    source, target = torch.randn(1 << 26), torch.empty(1 << 26)
    copy = timing(lambda: target.copy_(source), seconds)["fastest_ms"]
    return {"gflops": 2 * 2048**3 / product / 1e6, "copy_gbs": 2 * 4 * source.numel() / copy / 1e6}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("operations", type=pathlib.Path, help="the JSON file of `sinter bench ops`")
    parser.add_argument("--threads", type=int, default=0, help="0: all cores")
    parser.add_argument("--seconds", type=float, default=0.5, help="for each measurement")
    parser.add_argument("--compile", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads or os.cpu_count())
    torch.manual_seed(0)

    report = {"threads": torch.get_num_threads(), "ceiling": ceiling(arguments.seconds), "operations": []}
    for operation in json.loads(arguments.operations.read_text())["operations"]:
        name, sizes = operation["operation"], operation["sizes"]
        times = measure(name, sizes, arguments.compile, arguments.seconds)
        report["operations"].append({"operation": name, "sizes": sizes, "label": operation["label"], **times})
    print(json.dumps(report))


if __name__ == "__main__":
    main()
