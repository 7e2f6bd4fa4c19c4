"""The Frechet distance of two sets of features in Sinter beside numpy and SciPy, in turn, and the way to features.

Run from the repository's root, with a Python that has `requirements.txt`, of which numpy and SciPy will do:

    cargo build --release -p sinter-cli -p sinter-metrics --bins --example frechet_speed
    python benches/peers/frechet.py            # 50,000 x 2048; writes docs/results/frechet.md
    python benches/peers/frechet.py --quick    # 3000 x 512; writes target/frechet.md

Both sides read the same two files of 32-bit features, each side in a process of its own, on the same number of threads.
The peer is written as pytorch-fid computes its statistics and distance: `np.mean`, `np.cov(rowvar=False)` in f64, and
`scipy.linalg.sqrtm` of the product of the covariances. Its clocks run without reading; Sinter's too, and it reads in
blocks. Each process also times a product of two large matrices, before and after: the larger of the two sides' speeds
is the machine's ceiling. A number is the median of the rounds; a ratio is the median of the rounds' ratios, with the
smallest and largest. At the end `sinter bench features` times the way from image files to features, stage by stage.
"""

import argparse
import json
import os
import pathlib
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__)
NAMES = ["first.f32", "second.f32"]
THREADS = ["OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS", "RAYON_NUM_THREADS"]
# With these unset OpenBLAS chooses what is best for the processor.
CHOICES = ["OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"]
STAGES = {
    "decode": "decode PNG files",
    "resize_tensorflow": "resize to 299 x 299, as TensorFlow does",
    "resize_pytorch": "resize to 299 x 299, as PyTorch does",
    "inception": "Inception-v3 alone, from 299 x 299",
    "inception_pass": "files to statistics, Inception-v3",
    "classifier": "classifier alone",
    "classifier_pass": "files to statistics, classifier",
}


def generate(folder, rows, dimension):
    """Two sets of features: Gaussians of full rank whose deviations fall like those of learned features."""
    import numpy as np

    draws = np.random.default_rng(0)
    rotation = np.linalg.qr(draws.standard_normal((dimension, dimension)))[0].astype(np.float32)
    for name, mean, decay in zip(NAMES, [0.40, 0.42], [0.50, 0.55]):
        scale = np.arange(1, dimension + 1, dtype=np.float32) ** -decay
        with (folder / name).open("wb") as file:
            for first in range(0, rows, 4096):
                block = draws.standard_normal((min(4096, rows - first), dimension), dtype=np.float32)
                file.write(((block * scale) @ rotation + np.float32(mean)).astype("<f4").tobytes())


def peer(paths, dimension, rows):
    """numpy and SciPy on the same files; prints one JSON object."""
    import numpy as np
    import scipy
    from scipy import linalg

    def seconds(call):
        begin = time.perf_counter()
        result = call()
        return result, time.perf_counter() - begin

    def moments(path):
        features = np.fromfile(path, dtype="<f4", count=rows * dimension).reshape(-1, dimension).astype(np.float64)
        return seconds(lambda: (np.mean(features, axis=0), np.cov(features, rowvar=False)))

    def distance(first, second, eps=1e-6):
        (mean_1, covariance_1), (mean_2, covariance_2) = first, second
        difference = mean_1 - mean_2
        root = linalg.sqrtm(covariance_1.dot(covariance_2))
        if not np.isfinite(root).all():
            offset = np.eye(dimension) * eps
            root = linalg.sqrtm((covariance_1 + offset).dot(covariance_2 + offset))
        root = root.real if np.iscomplexobj(root) else root
        traces = np.trace(covariance_1) + np.trace(covariance_2)
        return difference.dot(difference) + traces - 2 * np.trace(root)

    def ceiling(side=2048, runs=5):
        left = np.sin(0.7 * np.arange(side * side, dtype=np.float64)).reshape(side, side)
        return 2 * side**3 / min(seconds(lambda: left @ left)[1] for _ in range(runs)) / 1e9

    before = ceiling()
    (first, first_s), (second, second_s) = moments(paths[0]), moments(paths[1])
    value, distance_s = seconds(lambda: distance(first, second))
    report = {"statistics_ms": 1e3 * (first_s + second_s), "distance_ms": 1e3 * distance_s, "value": float(value)}
    report |= {"ceiling_gflops": max(before, ceiling()), "numpy": np.__version__, "scipy": scipy.__version__}
    print(json.dumps(report))


def measure(command, threads):
    """The report of a process, with its peak memory in GiB, and what other programs took of the processor meanwhile."""
    environment = {name: value for name, value in os.environ.items() if name not in CHOICES}
    environment |= dict.fromkeys(THREADS, str(threads))
    others, begin = seconds_of_others(), time.perf_counter()
    process = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, env=environment)
    output = process.stdout.read()
    # The usage of this one child: RUSAGE_CHILDREN would be the largest of all so far. A child's peak is never less than
    # this process's size when it started it, so numpy is not imported here.
    _, process.returncode, usage = os.wait4(process.pid, 0)
    if process.returncode != 0:
        raise SystemExit(f"failed: {' '.join(map(str, command))}")
    wall, spent = time.perf_counter() - begin, usage.ru_utime + usage.ru_stime
    unit = 1 if sys.platform == "darwin" else 1024
    taken = others and max(0.0, seconds_of_others() - others - spent) / (wall * os.cpu_count())
    return json.loads(output) | {"peak_gib": usage.ru_maxrss * unit / 2**30, "share_of_others": taken}


def seconds_of_others():
    """Processor time that went to other programs than this one, waited-for children included; where Linux tells."""
    try:
        fields = pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    except OSError:
        return None
    ticks = [int(field) / os.sysconf("SC_CLK_TCK") for field in fields]
    own = resource.getrusage(resource.RUSAGE_SELF)
    return sum(ticks) - sum(ticks[3:5]) - own.ru_utime - own.ru_stime


def processor():
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def median(reports, key):
    return statistics.median(report[key] for report in reports)


def ratio(ours, theirs, key):
    """Theirs over ours, round by round."""
    ratios = [their[key] / our[key] for our, their in zip(ours, theirs)]
    middle = f"{statistics.median(ratios):.2f}"
    return f"{middle} ({min(ratios):.2f} to {max(ratios):.2f})" if len(ratios) > 1 else middle


def table(heading, rows):
    """The first column to the left, numbers to the right."""
    lines = [f"| {' | '.join(cells)} |" for cells in [heading, *rows]]
    return "\n".join([lines[0], f"|---|{'---:|' * (len(heading) - 1)}", *lines[1:]])


def total(reports):
    return [report | {"whole_ms": report["statistics_ms"] + report["distance_ms"]} for report in reports]


def set_of(rounds, title):
    """A table of one size of sets: times, ratios, memory, values."""
    ours, theirs = total(r["sinter"] for r in rounds), total(r["numpy"] for r in rounds)
    names = {"statistics_ms": "mean and covariance of both sets", "distance_ms": "distance", "whole_ms": "in all"}
    rows = [
        [f"{name}, seconds", *(f"{median(side, key) / 1e3:.3f}" for side in [ours, theirs]), ratio(ours, theirs, key)]
        for key, name in names.items()
    ]
    peaks = [f"{max(report['peak_gib'] for report in side):.3f}" for side in [ours, theirs]]
    rows.append(["peak memory of the process, GiB", *peaks, ratio(ours, theirs, "peak_gib")])
    rows.append(["value", *(f"{side[0]['value']:.10f}" for side in [ours, theirs]), ""])
    difference = abs(ours[0]["value"] / theirs[0]["value"] - 1)
    ranks = " and ".join(map(str, ours[0]["ranks"]))
    agreement = f"The values differ by {difference:.1e} of theirs; the covariances' ranks are {ranks}."
    return "\n\n".join([f"## {title}", table(["", "Sinter", "numpy, SciPy", "theirs / ours"], rows), agreement])


def features(arguments):
    """The report of `sinter bench features`."""
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "features.json"
        sizes, images, rounds = ("32", 8, 1) if arguments.quick else ("32,256", 64, arguments.rounds)
        words = ["bench", "features", "--sizes", sizes, "--n", images, "--rounds", rounds]
        command = [arguments.sinter, *words, "--threads", arguments.threads, "--json", path]
        subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)
        return json.loads(path.read_text()) | {"command": " ".join(map(str, ["sinter", *words]))}


def feature_pass(report):
    """The section on the way from files to features."""
    sizes = list(dict.fromkeys(stage["pixels"] for stage in report["stages"]))
    speed = {(stage["pixels"], stage["stage"]): stage["images_per_second"] for stage in report["stages"]}
    rows = [[label, *(f"{speed[size, name]:,.0f}" if speed[size, name] >= 100 else f"{speed[size, name]:.1f}"
                      for size in sizes)] for name, label in STAGES.items()]

    def shares(network):
        """Of the whole pass in the speed of the network alone."""
        share = {size: speed[size, network + "_pass"] / speed[size, network] for size in sizes}
        return " and ".join(f"{share[size]:.0%} ({size} x {size})" for size in sizes)

    return "\n\n".join([
        "## The way to the features",
        f"`{report['command']}`: {report['images']} PNG files in colour, slopes with some grain; networks with random"
        " weights, f32. Images a second, medians.",
        table(["", *(f"{size} x {size}" for size in sizes)], rows),
        "A whole pass reads files, resizes where the network asks for it, computes features and adds them to the"
        f" statistics. It runs at {shares('inception')} of the speed of Inception-v3 alone, and at"
        f" {shares('classifier')} of the classifier's.",
    ])


def page(arguments, full, few, feature_report, command):
    ours = [r["sinter"] for r in full]
    versions = full[0]["numpy"]
    # Multiplications and additions of the lower triangle: n d (d + 1) a set.
    gflop = 2 * arguments.rows * arguments.dimension * (arguments.dimension + 1) / 1e9
    ceilings = [max(side["ceiling_gflops"] for side in r.values()) for r in full]

    def share(side):
        rates = [gflop / (r[side]["statistics_ms"] / 1e3) / ceiling for r, ceiling in zip(full, ceilings)]
        return f"{statistics.median(rates):.0%}"

    others = [side["share_of_others"] for r in full + few for side in r.values() if side["share_of_others"] is not None]
    disturbed = f" Other programs took {statistics.median(others):.1%} of the processor's time (median), at most" \
                f" {max(others):.1%}." if others else ""
    n, d = arguments.rows, arguments.dimension
    return "\n\n".join([
        "# The Frechet distance beside numpy and SciPy",
        f"Two sets of {n:,} features of {d} dimensions, 32-bit on disk, f64 in both programs, {arguments.threads}"
        f" threads each, in turn; rounds: {arguments.rounds}. numpy and SciPy compute as pytorch-fid does: `np.mean`,"
        " `np.cov`, `scipy.linalg.sqrtm` of the product. Times are medians, without reading; a ratio is the median of"
        " the rounds' ratios, with the smallest and largest in brackets; above 1, Sinter is faster or smaller.",
        "```sh\ncargo build --release -p sinter-cli -p sinter-metrics --bins --example frechet_speed\n"
        f"{command}\n```",
        f"{processor()}, {os.cpu_count()} cores. numpy {versions['numpy']}, SciPy {versions['scipy']}.{disturbed}",
        set_of(full, f"Full rank: {n:,} samples"),
        f"The machine's ceiling in the same processes, a product of two 2048 x 2048 matrices in f64 on all threads,"
        f" the faster of faer's ({median(ours, 'ceiling_gflops'):.1f} GFLOP/s) and OpenBLAS's"
        f" ({median([r['numpy'] for r in full], 'ceiling_gflops'):.1f}): {statistics.median(ceilings):.1f} GFLOP/s. The"
        f" statistics need {gflop:.1f} GFLOP for the covariances' lower triangles: Sinter's run at {share('sinter')} of"
        f" the ceiling, numpy's at {share('numpy')}, everything else that they do included. Sinter streams the files and"
        f" holds a few matrices of {d} x {d}; numpy holds a set and its copies.",
        set_of(few, f"Rank-deficient: {arguments.few:,} samples"),
        "Here no covariance has full rank, and Sinter takes its slower route by eigenvalues and singular values, which"
        " loses no digits where a covariance is singular.",
        feature_pass(feature_report),
        "Written by `benches/peers/frechet.py`.",
    ]) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default="target/release/examples/frechet_speed")
    parser.add_argument("--sinter", default="target/release/sinter", help="the binary, for `bench features`")
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--dimension", type=int, default=2048)
    parser.add_argument("--few", type=int, default=1000, help="rows of the rank-deficient sets")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of both")
    parser.add_argument("--quick", action="store_true", help="one round of small sets")
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--peer", nargs=4, help=argparse.SUPPRESS)
    parser.add_argument("--generate", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.generate:
        return generate(pathlib.Path(arguments.generate), arguments.rows, arguments.dimension)
    if arguments.peer:
        first, second, dimension, rows = arguments.peer
        return peer([first, second], int(dimension), int(rows))
    if arguments.quick:
        arguments.rows, arguments.dimension, arguments.few, arguments.rounds = 3000, 512, 250, 1
    out = arguments.out or pathlib.Path("target" if arguments.quick else "docs/results") / "frechet.md"

    results = {arguments.rows: [], arguments.few: []}
    with tempfile.TemporaryDirectory() as folder:
        sizes = ["--rows", str(arguments.rows), "--dimension", str(arguments.dimension)]
        subprocess.run([sys.executable, HERE, "--generate", folder, *sizes], check=True)
        paths = [pathlib.Path(folder) / name for name in NAMES]
        for turn in range(arguments.rounds):
            for rows, rounds in results.items():
                files = [*paths, arguments.dimension, rows]
                rounds.append({
                    "sinter": measure([arguments.program, *files], arguments.threads),
                    "numpy": measure([sys.executable, HERE, "--peer", *files], arguments.threads),
                })
                times = {name: (r["statistics_ms"], r["distance_ms"]) for name, r in rounds[-1].items()}
                sides = ", ".join(f"{name} {first:.0f} + {second:.0f} ms" for name, (first, second) in times.items())
                print(f"[{turn + 1}/{arguments.rounds}] {rows} rows: {sides}", file=sys.stderr, flush=True)
    command = ["python benches/peers/frechet.py", *(["--quick"] if arguments.quick else
               [f"--rounds {arguments.rounds}", f"--threads {arguments.threads}"])]
    out.parent.mkdir(parents=True, exist_ok=True)
    sets = results[arguments.rows], results[arguments.few]
    out.write_text(page(arguments, *sets, features(arguments), " ".join(command)))
    print(out)


if __name__ == "__main__":
    main()
