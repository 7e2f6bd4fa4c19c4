"""Sinter beside PyTorch: steps, sampling, memory, cold start, threads and single operations, on one page.

Run from the repository's root, after `cargo build --release`, with a Python that has `requirements.txt`:

    python benches/peers/performance.py                           # everything; writes docs/results/performance.md
    python benches/peers/performance.py --quick                   # minutes; writes target/performance.md
    python benches/peers/performance.py configs/quickstart.toml   # only these configurations; prints their tables

Every round measures each thing in Sinter, in PyTorch and in compiled PyTorch, one after the other, so that a machine
whose speed changes over minutes is as fair to each. A number is the median of the rounds' medians; a ratio is the
median of the rounds' ratios, with the smallest and largest. Nothing else should run on the machine meanwhile; the page
says how much did.

Each measurement is kept at once in `data.json` beside the page. An interrupted run continues from there when it is
started again, with the same Sinter, PyTorch and machine; `--fresh` starts again.
"""

import argparse
import functools
import hashlib
import json
import os
import pathlib
import platform
import subprocess
import sys
import tempfile
import time
import tomllib

import page

HERE = pathlib.Path(__file__).parent
SMALL = ["configs/bench/dit-64-tokens.toml", "configs/bench/unet-28.toml"]
LARGE = ["configs/bench/dit-s-2.toml", "configs/bench/unet-cifar.toml"]
COLD = "configs/bench/mlp.toml"
OURS = ("sinter", "composed")


class Record:
    """Finished measurements: jobs with their reports, on disk where there is a path."""

    def __init__(self, path, identity, fresh):
        self.path = path
        self.data = {"identity": identity, "commit": commit(), "measurements": []}
        if path and path.exists() and not fresh:
            self.data = json.loads(path.read_text())
            for key, value in identity.items():
                if self.data["identity"].get(key) != value:
                    raise SystemExit(f"{path} was measured with another {key}; `--fresh` starts again")

    def find(self, job):
        """The report of a job, or nothing."""
        reports = (entry["report"] for entry in self.data["measurements"] if entry["job"] == job)
        return next(reports, None)

    def add(self, job, report):
        self.data["measurements"].append({"job": job, "report": report})
        if self.path:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            draft = self.path.with_suffix(".draft")
            draft.write_text(json.dumps(self.data, indent=1) + "\n")
            draft.replace(self.path)


def plan(arguments):
    """Every measurement, in order. A job of a peer follows ours of the same round, which tells it the sizes."""
    peers = ["eager"] if arguments.no_compile else ["eager", "compiled"]
    threads = arguments.threads

    def job(kind, side, turn, **rest):
        return {"kind": kind, "side": side, "threads": threads, "round": turn} | rest

    def train(side, turn, config):
        steps = min(2, arguments.steps) if side == "composed" else arguments.steps
        return job("train", side, turn, config=config, steps=steps)

    jobs = []
    for turn in range(arguments.rounds):
        for config in arguments.configs or (SMALL if arguments.quick else SMALL + LARGE):
            before = ["composed"] if turn == 0 else []
            jobs += [train(side, turn, config) for side in ["sinter", *peers, *before]]
    if arguments.configs:
        return jobs
    for turn in range(arguments.rounds):
        before = ["composed"] if turn == 0 else []
        jobs += [job("operations", side, turn) for side in ["sinter", *peers, *before]]
    for turn in range(1 if arguments.quick else 5):
        jobs += [job("cold start", side, turn, config=COLD, steps=0) for side in ["sinter", "eager"]]
    for count in sorted({1, *([4, os.cpu_count()] if os.cpu_count() >= 4 else [])} - {threads}):
        for config in SMALL if arguments.quick else SMALL + LARGE:
            sides = ["sinter", "eager"]
            jobs += [job("threads", side, 0, config=config, steps=arguments.steps, threads=count) for side in sides]
    return jobs


def run(command):
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if result.returncode != 0:
        raise SystemExit(f"failed: {' '.join(map(str, command))}\n{result.stderr}")
    return result.stdout


def commit():
    return run(["git", "rev-parse", "--short", "HEAD"]).strip()


def processor():
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def identity(arguments):
    """What numbers must have in common to stand in one table."""
    return {
        "sinter": hashlib.sha256(pathlib.Path(arguments.sinter).read_bytes()).hexdigest(),
        "torch": run([sys.executable, "-c", "import torch; print(torch.__version__)"]).strip(),
        "processor": processor(),
        "cores": os.cpu_count(),
    }


def seconds_of_others():
    """Processor time that went to other programs, or to other machines on the same hardware; where Linux tells."""
    try:
        fields = pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    except OSError:
        return None
    ticks = [int(field) / os.sysconf("SC_CLK_TCK") for field in fields]
    idle, waiting = ticks[3:5]
    return sum(ticks) - idle - waiting - sum(os.times()[:4])


@functools.cache
def model(sinter, config):
    """The resolved `[model]` section, without the parts that only networks with captions have."""
    section = tomllib.loads(run([sinter, "config", "show", config]))["model"]
    return json.dumps({key: value for key, value in section.items() if not isinstance(value, dict)})


def measure(arguments, job, ours):
    """The report of a job, given Sinter's of the same round where the job is a peer's."""
    threads = ["--threads", job["threads"]]
    samples = job["kind"] == "train" and job["side"] != "composed"
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / "report.json"
        if job["side"] in OURS:
            command = [arguments.sinter, "bench", "ops", *threads]
            if job["kind"] != "operations":
                command = [arguments.sinter, "bench", "train", job["config"], "--steps", job["steps"]]
                # The peer's optimizer, whatever the configuration's is.
                command += ["--set", f"device.threads={job['threads']}", "--set", 'optimizer.algorithm={type="adamw"}']
                command += ["--set", "sample.guidance.scale=1" if samples else "sample.n=1"]
            command += ["--json", file, *(["--composed"] if job["side"] == "composed" else [])]
        elif job["kind"] == "operations":
            file.write_text(json.dumps(ours))
            command = [sys.executable, HERE / "torch_ops.py", file, *threads]
        else:
            channels, size, _ = ours["image"]
            command = [sys.executable, HERE / "torch_bench.py", model(arguments.sinter, job["config"]), *threads]
            command += ["--size", size, "--channels", channels, "--classes", ours["classes"]]
            command += ["--batch", ours["batch"], "--steps", job["steps"]]
            if samples and ours["sample"]:
                command += ["--sample-images", ours["sample_images"], "--evaluations", ours["evaluations"]]
        command += ["--compile"] if job["side"] == "compiled" else []
        others, begin = seconds_of_others(), time.perf_counter()
        output = run(command)
        wall = time.perf_counter() - begin
        report = json.loads(file.read_text() if job["side"] in OURS else output)
    if ours and report.get("parameters") != ours.get("parameters"):
        raise SystemExit(f"PyTorch has {report['parameters']} parameters, Sinter {ours['parameters']}")
    taken = others and max(0.0, seconds_of_others() - others) / (wall * os.cpu_count())
    return report | {"wall_ms": 1e3 * wall, "share_of_others": taken}


def title(job):
    name = pathlib.Path(job["config"]).stem + " " if "config" in job else ""
    return f"{job['kind']}: {name}{page.SIDES[job['side']]}, {job['threads']} threads, round {job['round'] + 1}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("configs", nargs="*", help="only these configurations, printed and not kept")
    parser.add_argument("--sinter", default="target/release/sinter")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5, help="training steps of a measurement")
    parser.add_argument("--threads", type=int, default=2, help="of both; 0: all cores")
    parser.add_argument("--quick", action="store_true", help="one round and step, small configurations, no compiling")
    parser.add_argument("--no-compile", action="store_true", help="without torch.compile, which needs a C++ compiler")
    parser.add_argument("--fresh", action="store_true", help="forget what was measured before")
    parser.add_argument("--out", type=pathlib.Path)
    arguments = parser.parse_args()
    arguments.threads = arguments.threads or os.cpu_count()
    if arguments.quick:
        arguments.rounds, arguments.steps, arguments.no_compile = 1, 1, True
    out = arguments.out or pathlib.Path("target" if arguments.quick else "docs/results") / "performance.md"

    jobs = plan(arguments)
    path = None if arguments.configs else out.with_suffix("") / "data.json"
    record = Record(path, identity(arguments), arguments.fresh)
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache  # so that the first round compiles everything
        for number, job in enumerate(jobs, 1):
            if record.find(job):
                continue
            print(f"[{number}/{len(jobs)}] {title(job)}", end=" ", file=sys.stderr, flush=True)
            ours = record.find(job | {"side": "sinter"}) if job["side"] not in OURS else None
            record.add(job, measure(arguments, job, ours))
            print(f"({page.headline(record.find(job))})", file=sys.stderr, flush=True)

    results = page.Results(jobs, record)
    if arguments.configs:
        print("\n\n".join([page.training(results), page.sampling(results), page.memory(results)]))
        return
    command = ["--quick"] if arguments.quick else [f"--rounds {arguments.rounds}", f"--steps {arguments.steps}"]
    command += [f"--threads {arguments.threads}"]
    command += ["--no-compile"] if arguments.no_compile and not arguments.quick else []
    out.write_text(page.whole(results, " ".join(command), record.data, out.stem))
    (out.with_suffix("") / "ratios.svg").write_text(page.picture(results))
    print(out)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        raise SystemExit("\ninterrupted; the same command continues")
