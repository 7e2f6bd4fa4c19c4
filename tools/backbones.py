#!/usr/bin/env python3
"""Five backbones on two data sets at equal images: trains what is missing, measures, writes docs/results/backbones.md.

From the repository's root, after `cargo build --release`, with the data where `SINTER_DATA` says:

    python3 tools/backbones.py

Up to two hours on two CPU cores. Runs that are done are not made again and one that was interrupted goes on: run it
again. Speed and memory are measured last, in turn, with `sinter bench train`; `--page` writes the page from what is
there.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess

from chart import legend, panel, picture, smooth
from record import processor, total_minutes

ROOT = pathlib.Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/results/backbones.md"
FOLDER = PAGE.with_suffix("")
DATA = {"fashion-mnist": "Fashion-MNIST", "shapes": "Shapes, 32 x 32"}
NETWORKS = {
    "dit": ("DiT", "#4269d0"),
    "dtr": ("DTR", "#efb118"),
    "switch-dit": ("Switch-DiT", "#ff725c"),
    "adm": ("ADM's UNet", "#3ca951"),
    "edm": ("EDM's UNet (DDPM++)", "#a463f2"),
}
ROUNDS = 2


def run_directory(data, network):
    return ROOT / "runs" / f"backbones-{data}-{network}"


def train(sinter):
    """Makes all runs; those of a data set after the classifier that judges them, if that is not there."""
    for data in DATA:
        configurations = [f"backbones/{data}-{network}" for network in NETWORKS]
        if not (ROOT / f"runs/classifier-{data}/summary.md").exists():
            configurations.insert(0, f"classifier/{data}")
        for configuration in configurations:
            subprocess.run([sinter, "train", f"configs/{configuration}.toml"], cwd=ROOT, check=True)


def measure(sinter):
    """Images a second and peak memory of training, every run in turn, several times."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    report = FOLDER / "report.json"
    speeds = {}
    for _ in range(ROUNDS):
        for data in DATA:
            for network in NETWORKS:
                configuration = f"configs/backbones/{data}-{network}.toml"
                command = [sinter, "bench", "train", configuration, "--steps", "8", "--json", report]
                subprocess.run(command, cwd=ROOT, check=True)
                measured = json.loads(report.read_text())
                speeds.setdefault(f"{data}-{network}", []).append(
                    {key: measured[key] for key in ("parameters", "threads", "batch", "train", "train_peak_memory_gib")}
                )
    report.unlink()
    (FOLDER / "speed.json").write_text(json.dumps(speeds, indent=1) + "\n")


class Run:
    """What a run directory holds of one network."""

    def __init__(self, data, network, speeds):
        self.name, self.color = NETWORKS[network]
        directory = run_directory(data, network)
        journal = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
        self.directory = directory
        self.provenance = json.loads((directory / "provenance.json").read_text())
        self.minutes = total_minutes(record["time/minutes"] for record in journal if "time/minutes" in record)
        self.loss = self.curve(journal, "loss")
        self.validation = self.curve(journal, "validation/loss")
        self.distance = self.curve(journal, "evaluation/FD[")
        self.right = self.curve(journal, "evaluation/detector") or self.curve(journal, "evaluation/accuracy")
        measured = speeds[f"{data}-{network}"]
        self.parameters = measured[0]["parameters"]
        self.threads = measured[0]["threads"]
        self.speed = statistics.median(each["train"]["images_per_second"] for each in measured)
        self.memory = statistics.median(each["train_peak_memory_gib"] for each in measured)

    @staticmethod
    def curve(journal, start):
        """Pairs of images and value of the metric that starts so."""
        pairs = []
        for record in journal:
            pairs += [(record["images"], value) for key, value in record.items() if key.startswith(start)]
        return pairs

    def at_a_tenth(self):
        budget = self.distance[-1][0]
        return next(value for images, value in self.distance if images * 10 == budget)

    def row(self):
        first, last = self.at_a_tenth(), self.distance[-1][1]
        return (
            f"| {self.name} | {self.parameters / 1e6:.2f}M | {self.speed:.0f} | {self.memory:.2f}"
            f" | {self.validation[-1][1]:.4f} | {first:.3f} | {last:.3f} | {last / first:.2f}"
            f" | {100 * self.right[-1][1]:.1f}% |"
        )


def curves(runs):
    """An SVG of a data set's training losses and Frechet distances over images."""
    return picture(
        panel("training loss", [(run.name, run.color, smooth(run.loss)) for run in runs], 56, True),
        panel("Frechet distance", [(run.name, run.color, run.distance) for run in runs], 466, True),
        legend([(run.name, run.color) for run in runs]),
    )


def newest(folder, ending):
    """The newest picture of a run whose name is its clock and this ending."""
    pictures = [path for path in folder.glob(f"*{ending}.png") if path.stem.removesuffix(ending).isdigit()]
    return max(pictures, key=lambda path: int(path.stem.removesuffix(ending)))


def section(data, runs):
    """Table and pictures of one data set."""
    (FOLDER / f"{data}-curves.svg").write_text(curves(runs))
    right = "asked shape and colour" if data == "shapes" else "asked class"
    lines = [
        f"## {DATA[data]}",
        "",
        f"| network | parameters | images/s | memory, GiB | validation loss | FD at a tenth | FD at the end | ratio | {right} |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
        *(run.row() for run in runs),
        "",
        f"![curves]({FOLDER.name}/{data}-curves.svg)",
    ]
    for network, run in zip(NETWORKS, runs):
        shutil.copy(newest(run.directory / "samples", ""), FOLDER / f"{data}-{network}.png")
        lines += ["", f"{run.name}:", "", f"![samples of {run.name}]({FOLDER.name}/{data}-{network}.png)"]
    shutil.copy(newest(run_directory(data, "switch-dit") / "samples", "-experts"), FOLDER / f"{data}-experts.png")
    lines += [
        "",
        "Which experts each time takes (Switch-DiT), in every block; TensorBoard shows the same map as it grows:",
        "",
        f"![experts]({FOLDER.name}/{data}-experts.png)",
        "",
    ]
    return lines


def classifier_accuracy(data):
    """How often the classifier whose features are used is right on held-out images."""
    lines = (ROOT / f"runs/classifier-{data}/metrics.jsonl").read_text().splitlines()
    return [record["validation/accuracy"] for record in map(json.loads, lines) if "validation/accuracy" in record][-1]


def page():
    speeds = json.loads((FOLDER / "speed.json").read_text())
    runs = {data: [Run(data, network, speeds) for network in NETWORKS] for data in DATA}
    every = [run for group in runs.values() for run in group]
    provenance = every[0].provenance
    late = [f"{data}: {run.name}" for data in DATA for run in runs[data] if run.distance[-1][1] * 2 > run.at_a_tenth()]
    verdict = (
        "Every network ends at half or less of the Frechet distance that it had at a tenth of the budget."
        if not late
        else f"Not at half of the Frechet distance that they had at a tenth of the budget: {', '.join(late)}."
    )
    lines = [
        "# Five backbones, equal images",
        "",
        "```sh",
        "python3 tools/backbones.py",
        "```",
        "",
        f"DiT, DTR, Switch-DiT and the UNets of ADM and EDM, {every[0].distance[-1][0]:,} images each, one seed, one recipe"
        f" (`configs/backbones/recipe.toml`: flow matching, Muon), so small a budget that the order of networks means"
        f" little: what is shown is that all of them learn. {verdict}",
        "",
        f"Sinter {provenance['version']}, {provenance['platform']}, {processor()}, {every[0].threads} of {os.cpu_count()}"
        f" cores; all ten runs with their evaluations {sum(run.minutes for run in every):.0f} minutes, beside other work."
        f" Images/s and peak memory of training are medians of {ROUNDS} rounds of `sinter bench train`, alone.",
        "FD: Frechet distance of 400 samples without guidance, in features of the data's classifier, which is right on"
        f" {100 * classifier_accuracy('fashion-mnist'):.0f}% of Fashion-MNIST's held-out images and on"
        f" {100 * classifier_accuracy('shapes'):.0f}% of the shapes' (48 classes).",
        "",
    ]
    for data in DATA:
        lines += section(data, runs[data])
    PAGE.write_text("\n".join(lines).rstrip() + "\n")
    print(PAGE)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sinter", type=pathlib.Path, default=ROOT / "target/release/sinter", help="the binary")
    parser.add_argument("--train", action="store_true", help="train what is missing, no more")
    parser.add_argument("--page", action="store_true", help="write the page from what is there")
    arguments = parser.parse_args()
    if not arguments.page:
        train(arguments.sinter)
    if not arguments.page and not arguments.train:
        measure(arguments.sinter)
    if not arguments.train:
        page()


if __name__ == "__main__":
    main()
