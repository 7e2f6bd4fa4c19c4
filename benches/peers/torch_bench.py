"""Times training steps of a Sinter configuration's network in PyTorch; prints one JSON object.

Usage: torch_bench.py MODEL_JSON --size 32 --channels 3 --classes 48 --batch 32 --steps 10 --threads 2 [--compile]
"""

import argparse
import json
import os
import resource
import time

import torch

import models


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("model", help="the resolved [model] section as JSON")
    for name in ["size", "channels", "classes", "batch", "steps", "threads"]:
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--compile", action="store_true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads or os.cpu_count())
    torch.manual_seed(0)

    size, channels, batch = arguments.size, arguments.channels, arguments.batch
    network = models.build(json.loads(arguments.model), channels, size, arguments.classes)
    averages = [parameter.detach().clone() for parameter in network.parameters()]
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, foreach=True)
    forward = torch.compile(network) if arguments.compile else network

    def step():
        """One update as Sinter makes it: flow matching, clipped gradient, AdamW, one moving average."""
        images = torch.randn(batch, channels, size, size)
        noise = torch.randn_like(images)
        t = torch.rand(batch)
        classes = torch.randint(arguments.classes, (batch,)) if arguments.classes else None
        at = t[:, None, None, None]
        output = forward((1 - at) * images + at * noise, 1000 * t, classes)[:, :channels]
        loss = ((output - (noise - images)) ** 2).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            torch._foreach_lerp_(averages, list(network.parameters()), 1e-3)

    times = []
    for _ in range(arguments.steps + 2):
        begin = time.perf_counter()
        step()
        times.append(1e3 * (time.perf_counter() - begin))
    print(
        json.dumps(
            {
                "parameters": sum(parameter.numel() for parameter in network.parameters()),
                "first_step_ms": times[0],
                "steps_ms": times[2:],
                "peak_memory_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20),
            }
        )
    )


if __name__ == "__main__":
    main()
