"""Sinter beside PyTorch: the same networks, batches and threads, in turn, as medians.

Run from the repository's root, after `cargo build --release`, with a Python that has `requirements.txt`:

    python benches/peers/compare.py configs/quickstart.toml configs/models/dit-s-2.toml --rounds 3

Each round times every configuration in Sinter, in PyTorch and, with `--compile`, in compiled PyTorch, one after the
other, so that a machine whose speed changes over minutes is as fair to each. Of each side the median step of each
round is taken, and of these the median; the ratio is the median of the rounds' ratios, with the smallest and largest.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import tomllib

HERE = pathlib.Path(__file__).parent


def run(command):
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        raise SystemExit(f"failed: {' '.join(map(str, command))}\n{result.stderr}")
    return result.stdout


def sinter(arguments, config):
    with tempfile.NamedTemporaryFile(suffix=".json") as out:
        command = [arguments.sinter, "bench", "train", config, "--steps", arguments.steps, "--threads", arguments.threads]
        # The peer's optimizer, whatever the configuration's is.
        command += ["--set", 'optimizer.algorithm={type="adamw"}', "--json", out.name]
        run(list(map(str, command)))
        return json.loads(pathlib.Path(out.name).read_text())


def torch(arguments, resolved, ours, compiled):
    model = {key: value for key, value in resolved["model"].items() if not isinstance(value, dict)}
    channels, size, _ = ours["image"]
    command = [sys.executable, HERE / "torch_bench.py", json.dumps(model)]
    command += ["--size", size, "--channels", channels, "--classes", ours["classes"], "--batch", ours["batch"]]
    command += ["--steps", arguments.steps, "--threads", arguments.threads]
    report = json.loads(run([*map(str, command), *(["--compile"] if compiled else [])]))
    if report["parameters"] != ours["parameters"]:
        raise SystemExit(f"PyTorch has {report['parameters']} parameters, Sinter {ours['parameters']}")
    return report


def spread(values, form):
    return f"{form(statistics.median(values))} ({form(min(values))} to {form(max(values))})"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("configs", nargs="+")
    parser.add_argument("--sinter", default="target/release/sinter")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--threads", type=int, default=0, help="of both; 0: all cores")
    parser.add_argument("--compile", action="store_true", help="torch.compile, too")
    arguments = parser.parse_args()

    print("| configuration | parameters | batch | Sinter ms | peer | peer ms | Sinter's speed over the peer's | peak GiB, Sinter and peer |")
    print("|---|---:|---:|---:|---|---:|---:|---:|")
    for config in arguments.configs:
        resolved = tomllib.loads(run([arguments.sinter, "config", "show", config]))
        peers = ["PyTorch", "PyTorch compiled"] if arguments.compile else ["PyTorch"]
        ours, theirs = [], {peer: [] for peer in peers}
        for _ in range(arguments.rounds):
            ours.append(sinter(arguments, config))
            for peer in peers:
                theirs[peer].append(torch(arguments, resolved, ours[-1], peer != "PyTorch"))
        times = [report["train"]["median_ms"] for report in ours]
        for peer in peers:
            peer_times = [statistics.median(report["steps_ms"]) for report in theirs[peer]]
            ratios = [theirs_ms / ours_ms for theirs_ms, ours_ms in zip(peer_times, times)]
            memory = [max(report["peak_memory_gib"] for report in reports) for reports in (ours, theirs[peer])]
            cells = [
                resolved["name"],
                f"{ours[0]['parameters']:,}",
                str(ours[0]["batch"]),
                spread(times, lambda v: f"{v:.0f}"),
                peer,
                spread(peer_times, lambda v: f"{v:.0f}"),
                spread(ratios, lambda v: f"{v:.2f}"),
                f"{memory[0]:.2f}, {memory[1]:.2f}",
            ]
            print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
