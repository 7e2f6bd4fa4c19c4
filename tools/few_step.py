#!/usr/bin/env python3
"""Few-step students beside their teachers: trains what is missing, measures, writes a page of docs/results.

From the repository's root, after `cargo build --release`:

    python3 tools/few_step.py plane      # points in the plane: docs/results/few-step-2d.md, a quarter of an hour on two CPU cores
    python3 tools/few_step.py images     # Fashion-MNIST and shapes: docs/results/few-step.md, half an hour

The teachers of `images` go on from runs of tools/backbones.py, with the data where `SINTER_DATA` says. Runs that are done are not
made again and one that was interrupted goes on: run it again. `--page` writes the page from what is there.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from record import processor, total_minutes

ROOT = pathlib.Path(__file__).resolve().parent.parent


@dataclass
class Student:
    """One student of every teacher."""

    label: str
    preset: str
    steps: list[int]
    settings: list[str] = field(default_factory=list)
    # Whose student: the teacher, or another student.
    of: str = "teacher"


@dataclass
class Teacher:
    """A teacher, and what belongs to its data."""

    title: str
    config: str
    settings: list[str] = field(default_factory=list)
    # A run of another tool that it starts from.
    needs: str | None = None


@dataclass
class Bench:
    """Teachers and students of one kind of data, and how they are measured."""

    page: str
    title: str
    introduction: str
    teachers: dict[str, Teacher]
    # Images that a student sees, and settings that all students share.
    images: int
    settings: list[str]
    # Pairs, for students that learn from some.
    pairs: str
    teacher_steps: list[int]
    n: int
    metrics: list[str]
    # Columns: the start of a metric's name, its heading, its factor and digits. The first is what students are judged by.
    columns: list[tuple[str, str, float, int]]
    # How far above the teacher's most steps the first column may lie, by steps.
    bounds: dict[int, float]
    # What single students need here, by their names.
    own: dict[str, list[str]] = field(default_factory=dict)
    # Students that are left out.
    without: list[str] = field(default_factory=list)


def students(bench):
    pairs = [bench.pairs]
    return {
        "cd": Student("Consistency distillation", "cd", [1, 2, 4]),
        "ect": Student("ECT", "ect", [1, 2, 4], [f"objective.pairs.stage_images={bench.images // 8}"]),
        "scm": Student("sCM, distilled", "scm", [1, 2, 4]),
        "dmd2-1": Student("DMD2, one step", "dmd2", [1], ["objective.steps=1", "sample.sampler.steps=1"]),
        "dmd2-2": Student("DMD2, two steps", "dmd2", [2]),
        "dmd2-4": Student("DMD2, four steps", "dmd2", [4], ["objective.steps=4", "sample.sampler.steps=4"]),
        "reflow": Student("Reflow", "reflow", [1, 2, 4], pairs),
        "reflow-distilled": Student(
            "Reflow, then distilled", "reflow", [1], [*pairs, "objective.stage='distillation'"], of="reflow"
        ),
        "rfpp": Student("Rectified flow++", "rfpp", [1, 2, 4], pairs),
        "knowledge": Student("Knowledge distillation", "knowledge", [1], pairs),
    }


def plane():
    images = 500_000
    shared = [
        "train.batch=500",
        "train.checkpoint_every=100000",
        "optimizer.schedule.warmup=10000",
        "ema.half_life=[20000]",
        "sample.every=0",
        "sample.n=2000",
        "eval.every=0",
        "eval.metrics=[]",
        "eval.validation=0",
        "log.every=25000",
    ]

    def teacher(title, distribution):
        decay = f"{{type='cosine',images={2 * images},floor=0.01}}"
        settings = [
            *shared,
            f"train.images={2 * images}",
            # A label that turns the embedding slowly: sCM follows its derivative.
            "objective.time_label={type='unit'}",
            "optimizer.learning_rate=2e-3",
            f"optimizer.schedule.decay={decay}",
            f"data.source.distribution='{distribution}'",
        ]
        return Teacher(title, "configs/toy2d/mlp-flow.toml", settings)

    return Bench(
        page="few-step-2d",
        title="Few-step students in the plane",
        introduction=(
            f"Teachers: flow matching with a small perceptron, {2 * images:,} points. Students: {images:,} points each, one"
            " seed. W2: the exact 2-Wasserstein distance of 2,000 samples and 2,000 points of the data. Modes: those that"
            " have a sample within three deviations (of the checkerboard: within the circle inside a field); divergence: of"
            " the samples' shares of the modes, in nats."
        ),
        teachers={
            "eight-gaussians": teacher("Eight Gaussians", "eight_gaussians"),
            "checkerboard": teacher("Checkerboard", "checkerboard"),
        },
        images=images,
        settings=[*shared, f"optimizer.schedule.decay={{type='cosine',images={images},floor=0.01}}"],
        own={"cd": ["optimizer.learning_rate=1e-3"]},
        pairs="objective.pairs={images=100000,sampler={solver={type='heun',clock='time'},steps=25}}",
        teacher_steps=[1, 2, 4, 50],
        n=5000,
        metrics=["--metrics", '{type="wasserstein",rows=2000}', "--metrics", "modes"],
        columns=[("W2", "W2", 1, 4), ("modes", "modes, %", 100, 0), ("mode-divergence", "divergence", 1, 4)],
        bounds={1: 3.0, 2: 1.5},
    )


def images():
    longer, count = 4_000, 3_000
    shared = [
        "train.batch=16",
        "train.checkpoint_every=1500",
        "optimizer.schedule.warmup=400",
        "ema.half_life=[400]",
        "sample.every=0",
        "sample.n=48",
        "eval.every=0",
        "eval.n=400",
        "log.every=160",
    ]

    def teacher(title, data):
        backbone = f"runs/backbones-{data}-adm"
        decay = f"{{type='cosine',images={longer},floor=0.02}}"
        settings = [
            *shared,
            f"train.images={longer}",
            f"train.init_from='{backbone}'",
            # A label that turns the embedding slowly, as SANA-Sprint gives its teacher before sCM.
            "objective.time_label={type='unit'}",
            "optimizer.learning_rate=0.01",
            f"optimizer.schedule.decay={decay}",
        ]
        return Teacher(title, f"configs/backbones/{data}-adm.toml", settings, needs=backbone)

    return Bench(
        page="few-step",
        title="Few-step students on images",
        introduction=(
            f"Teachers: ADM's UNet by flow matching, from tools/backbones.py (16,000 images), trained for {longer:,} images"
            f" more with times in 0..1 as its label, so that sCM can follow its derivative. Students: {count:,} images each,"
            " one seed. FD: Frechet distance of 500 samples in features of the data's classifier; right: the share of"
            " samples in which the classifier finds the asked class, the detector the asked shape and colour."
        ),
        teachers={
            "fashion-mnist": teacher("Fashion-MNIST", "fashion-mnist"),
            "shapes": teacher("Shapes, 32 x 32", "shapes"),
        },
        images=count,
        settings=[*shared, f"optimizer.schedule.decay={{type='cosine',images={count},floor=0.02}}"],
        pairs="objective.pairs={images=3000,sampler={solver={type='heun',clock='time'},steps=5}}",
        teacher_steps=[1, 2, 4, 50],
        n=500,
        metrics=[],
        columns=[("FD", "FD", 1, 3), ("accuracy", "right, %", 100, 1), ("detector", "right, %", 100, 1)],
        bounds={},
        without=["dmd2-1", "dmd2-4", "reflow-distilled", "knowledge"],
    )


BENCHES = {"plane": plane, "images": images}


class Work:
    """A bench with its runs, in one place."""

    def __init__(self, bench, sinter):
        self.bench, self.sinter = bench, sinter
        self.page = ROOT / f"docs/results/{bench.page}.md"
        self.folder = self.page.with_suffix("")
        self.students = {name: student for name, student in students(bench).items() if name not in bench.without}

    def call(self, *arguments):
        subprocess.run([self.sinter, *map(str, arguments)], cwd=ROOT, check=True)

    def run(self, data, name):
        return pathlib.Path("runs") / f"{self.bench.page}-{data}-{name}"

    def done(self, data, name):
        return (ROOT / self.run(data, name) / "summary.md").exists()

    def train(self, only):
        """The data sets side by side, with an equal share of the cores each."""

        def one(data):
            teacher = self.bench.teachers[data]
            if teacher.needs and not (ROOT / teacher.needs / "summary.md").exists():
                raise SystemExit(f"{teacher.needs} is not there: make it with tools/backbones.py")
            self.train_run(data, "teacher", teacher.config, teacher.settings)
            for name, student in self.students.items():
                if only is None or name in only:
                    of = f"objective.teacher='{self.run(data, student.of)}'"
                    settings = [of, f"train.images={self.bench.images}", *self.bench.settings, *student.settings]
                    settings += self.bench.own.get(name, [])
                    self.train_run(data, name, f"configs/distill/{student.preset}.toml", settings)

        with ThreadPoolExecutor(len(self.bench.teachers)) as pool:
            list(pool.map(one, self.bench.teachers))

    def train_run(self, data, name, config, settings):
        words = [word for value in settings for word in ("--set", value)]
        threads = max(1, (os.cpu_count() or 1) // len(self.bench.teachers))
        self.call("train", config, "--run", self.run(data, name), "--threads", threads, *words)

    def measure(self, data, name, steps, more=()):
        """The records of a run's samples in so many steps; kept beside the run until it changes."""
        directory = ROOT / self.run(data, name)
        kept = directory / "few-step" / f"{steps}.json"
        if not kept.exists() or kept.stat().st_mtime < (directory / "metrics.jsonl").stat().st_mtime:
            before = set((directory / "eval").glob("*.json"))
            began = max((path.stat().st_mtime for path in before), default=0)
            arguments = ["--n", self.bench.n, "--steps", steps, *self.bench.metrics, *more]
            self.call("eval", self.run(data, name), *arguments)
            paths = [path for path in (directory / "eval").glob("*.json") if path.stat().st_mtime > began]
            kept.parent.mkdir(exist_ok=True)
            kept.write_text(json.dumps([json.loads(path.read_text()) for path in sorted(paths)]))
        return json.loads(kept.read_text())

    def picture(self, data, name, steps, more=()):
        picture = self.folder / f"{data}-{name}-{steps}.png"
        if not picture.exists():
            out = ROOT / "target" / self.bench.page
            n = 2000 if self.bench.page.endswith("2d") else 48
            self.call("sample", self.run(data, name), "--out", out, "--n", n, "--steps", steps, *more)
            shutil.copy(out / "grid.png", picture)
        return f"{self.folder.name}/{picture.name}"

    def journal(self, data, name, key):
        """All values of a scalar that a run logged."""
        lines = (ROOT / self.run(data, name) / "metrics.jsonl").read_text().splitlines()
        values = (json.loads(line).get(key) for line in lines)
        return [value for value in values if value is not None]

    def minutes(self, data, name):
        return total_minutes(self.journal(data, name, "time/minutes"))

    def section(self, data, teacher):
        bench, ddim = self.bench, ("--solver", "ddim")
        measured = {steps: self.measure(data, "teacher", steps, ddim) for steps in bench.teacher_steps}
        columns = [column for column in bench.columns if find(measured[bench.teacher_steps[-1]], column[0]) is not None]
        judged = columns[0][0]
        best = find(measured[bench.teacher_steps[-1]], judged)
        headings = ["", "steps", *(heading for _, heading, _, _ in columns), "over the teacher's best", "minutes"]
        lines = [f"## {teacher.title}", "", "| " + " | ".join(headings) + " |", "|---" + "|---:" * (len(headings) - 1) + "|"]

        def rows(label, name, records):
            for place, (steps, found) in enumerate(records.items()):
                values = [f"{factor * find(found, start):.{digits}f}" for start, _, factor, digits in columns]
                first = [label, f"{self.minutes(data, name):.1f}"] if place == 0 else ["", ""]
                ratio = f"{find(found, judged) / best:.2f}"
                lines.append("| " + " | ".join([first[0], str(steps), *values, ratio, first[1]]) + " |")

        rows("teacher", "teacher", measured)
        late = []
        done = {name: student for name, student in self.students.items() if self.done(data, name)}
        for name, student in done.items():
            records = {steps: self.measure(data, name, steps) for steps in student.steps}
            rows(student.label, name, records)
            for steps, found in records.items():
                if find(found, judged) > bench.bounds.get(steps, float("inf")) * best:
                    late.append(f"{student.label} at {steps} ({find(found, judged) / best:.2f})")
        if bench.bounds:
            limits = ", ".join(f"{bound:g} times at {steps}" for steps, bound in sorted(bench.bounds.items()))
            verdict = "every student" if not late else f"every student but {'; '.join(late)}"
            lines += ["", f"Within the bounds on the teacher's {bench.columns[0][1]} at its most steps ({limits} steps): {verdict}."]
        for name, student in done.items():
            if tangents := self.journal(data, name, "tangent"):
                first, last = tangents[0], tangents[-1]
                lines += ["", f"The tangent of {student.label}: {first:.3f} at first, {last:.3f} at last (root mean square)."]
        lines += ["", *self.pictures(data, done, ddim)]
        return lines

    def pictures(self, data, done, ddim):
        most = self.bench.teacher_steps[-1]
        shown = [("teacher", "teacher", most, ddim), ("teacher", "teacher", 1, ddim)]
        shown += [(student.label, name, student.steps[0], ()) for name, student in done.items()]
        lines = []
        for start in range(0, len(shown), 4):
            group = [
                (f"{label}, {steps} step{'s' * (steps > 1)}", self.picture(data, name, steps, more))
                for label, name, steps, more in shown[start : start + 4]
            ]
            lines += [
                "| " + " | ".join(label for label, _ in group) + " |",
                "|" + "---|" * len(group),
                "| " + " | ".join(f"![{label}]({path})" for label, path in group) + " |",
                "",
            ]
        return lines

    def write(self, kind):
        self.folder.mkdir(parents=True, exist_ok=True)
        lines = [
            f"# {self.bench.title}",
            "",
            "```sh",
            f"python3 tools/few_step.py {kind}",
            "```",
            "",
            self.bench.introduction
            + " Presets: `configs/distill`, with the settings in the script. The teacher's steps are DDIM's, one evaluation"
            " each.",
            "",
            f"{processor()}, {os.cpu_count()} cores, beside other work.",
            "",
        ]
        for data, teacher in self.bench.teachers.items():
            lines += self.section(data, teacher)
        self.page.write_text("\n".join(lines).rstrip() + "\n")
        print(self.page)


def find(records, start):
    """The value of the first metric whose name begins so."""
    return next((record["value"] for record in records if record["metric"].startswith(start)), None)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bench", choices=BENCHES)
    parser.add_argument("--sinter", type=pathlib.Path, default=ROOT / "target/release/sinter", help="the binary")
    parser.add_argument("--only", nargs="*", help="students to train, by name")
    parser.add_argument("--page", action="store_true", help="write the page from what is there")
    arguments = parser.parse_args()
    work = Work(BENCHES[arguments.bench](), arguments.sinter.resolve())
    if not arguments.page:
        work.train(arguments.only)
    work.write(arguments.bench)


if __name__ == "__main__":
    main()
