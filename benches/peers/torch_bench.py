"""Times training steps and sampling of a Sinter configuration's network in PyTorch; prints one JSON object.

    python benches/peers/torch_bench.py \\
        '{"type": "mlp", "width": 128, "depth": 4, "mlp_ratio": 2.0, "null_class": true}' --size 1 --channels 2 \\
        --classes 0 --batch 256 --steps 10 --threads 2 --sample-images 256

`--steps 0` makes the first step and nothing more; without `--sample-images` nothing is sampled; `--compile` is
`torch.compile`. `performance.py` runs it beside Sinter.
"""

import argparse
import json
import os
import resource
import sys
import time

import torch

import models


def peak_memory_gib():
    """Peak resident memory of this process. On Linux not of `getrusage`, which also knows what started the process."""
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) / (1 << 20)
    except OSError:
        unit = 1 << 30 if sys.platform == "darwin" else 1 << 20
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def milliseconds(call):
    begin = time.perf_counter()
    call()
    return 1e3 * (time.perf_counter() - begin)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="the resolved [model] section as JSON")
    for name in ["size", "channels", "classes", "batch", "steps", "threads"]:
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--sample-images", type=int, default=0, help="images of one sampling run")
    parser.add_argument("--evaluations", type=int, default=50, help="Euler steps of a sample")
    parser.add_argument("--compile", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads or os.cpu_count())
    torch.manual_seed(0)

    size, channels, batch = arguments.size, arguments.channels, arguments.batch
    network = models.build(json.loads(arguments.model), channels, size, arguments.classes)
    averages = [parameter.detach().clone() for parameter in network.parameters()]
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, weight_decay=0.0, foreach=True)
    forward = torch.compile(network, dynamic=False) if arguments.compile else network

    def labels(count):
        return torch.randint(arguments.classes, (count,)) if arguments.classes else None

    def step():
        """One update as Sinter makes it: flow matching, clipped gradient, AdamW, one moving average."""
        images = torch.randn(batch, channels, size, size)
        noise = torch.randn_like(images)
        t = torch.rand(batch)
        at = t[:, None, None, None]
        output = forward((1 - at) * images + at * noise, 1000 * t, labels(batch))[:, :channels]
        loss = ((output - (noise - images)) ** 2).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            torch._foreach_lerp_(averages, list(network.parameters()), 1e-3)

    @torch.no_grad()
    def sample(evaluations):
        """Euler steps of equal length from noise at t = 1 to data at t = 0."""
        count = arguments.sample_images
        x, classes = torch.randn(count, channels, size, size), labels(count)
        for index in range(evaluations):
            label = torch.full((count,), 1000 * (1 - index / arguments.evaluations))
            x = x - forward(x, label, classes)[:, :channels] / arguments.evaluations

    steps = arguments.steps and arguments.steps + 1  # one more to warm up, if any is measured
    first, *times = [milliseconds(step) for _ in range(1 + steps)]
    report = {
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "threads": torch.get_num_threads(),
        "first_step_ms": first,
        "steps_ms": times[1:],
        "train_peak_memory_gib": peak_memory_gib(),
    }
    if arguments.sample_images:
        network.eval()
        sample(1)
        report["sample_ms"] = milliseconds(lambda: sample(arguments.evaluations))
        report["sample_images"] = arguments.sample_images
    print(json.dumps(report | {"peak_memory_gib": peak_memory_gib()}))


if __name__ == "__main__":
    main()
