"""The page of `performance.py`: tables and a picture of what was measured."""

import pathlib
import statistics

SIDES = {"composed": "Sinter before", "sinter": "Sinter", "eager": "PyTorch", "compiled": "PyTorch compiled"}


class Results:
    """The reports of the planned jobs."""

    def __init__(self, jobs, record):
        self.entries = [(job, record.find(job)) for job in jobs]

    def select(self, **what):
        """Reports by round."""
        matching = ((job, report) for job, report in self.entries if what.items() <= job.items())
        return {job["round"]: report for job, report in matching}

    def values(self, value, **what):
        """One number of each report that has it, by round."""
        numbers = ((turn, value(report)) for turn, report in self.select(**what).items())
        return {turn: number for turn, number in numbers if number is not None}

    def ratios(self, value, side, **what):
        """By round, how many times as long a side takes as Sinter."""
        ours, theirs = (self.values(value, side=name, **what) for name in ["sinter", side])
        return [theirs[turn] / ours[turn] for turn in ours if turn in theirs]

    def configs(self, kind):
        return list(dict.fromkeys(job["config"] for job, _ in self.entries if job["kind"] == kind))


def step_ms(report):
    return report["train"]["median_ms"] if "train" in report else statistics.median(report["steps_ms"])


def sample_ms(report):
    """Of a run of either side that sampled as many images as the other."""
    return (report["sample"] or {}).get("median_ms") if "sample" in report else report.get("sample_ms")


def headline(report):
    """A few words for the progress."""
    step = f"step {number(step_ms(report))} ms, " if report.get("train") or report.get("steps_ms") else ""
    others = report["share_of_others"]
    return f"{step}{report['wall_ms'] / 1e3:.1f} s" + (f", others took {others:.0%}" if others else "")


def number(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def median(values):
    values = list(values.values())
    return number(statistics.median(values)) if values else "–"


def spread(values, form=lambda value: f"{value:.2f}"):
    """The median, with the smallest and largest of several."""
    if not values:
        return "–"
    middle = form(statistics.median(values))
    return f"{middle} ({form(min(values))} to {form(max(values))})" if len(values) > 1 else middle


def table(heading, rows):
    """The first column to the left, numbers to the right."""
    lines = [f"| {' | '.join(cells)} |" for cells in [heading, *rows]]
    return "\n".join([lines[0], f"|---|{'---:|' * (len(heading) - 1)}", *lines[1:]])


def stem(config):
    return pathlib.Path(config).stem


def training(results):
    rows = []
    for config in results.configs("train"):
        what = {"kind": "train", "config": config}
        ours = results.select(side="sinter", **what)[0]
        times = [median(results.values(step_ms, side=side, **what)) for side in SIDES]
        ratios = [spread(results.ratios(step_ms, side, **what)) for side in ["eager", "compiled", "composed"]]
        rows.append([stem(config), f"{ours['parameters']:,}", str(ours["batch"]), *times, *ratios])
    heading = ["configuration", "parameters", "batch", *(f"{name} ms" for name in SIDES.values())]
    return table(heading + ["PyTorch / Sinter", "compiled / Sinter", "before / Sinter"], rows)


def sampling(results):
    rows, sides = [], ["sinter", "eager", "compiled"]
    for config in results.configs("train"):
        what = {"kind": "train", "config": config}
        ours = results.select(side="sinter", **what)[0]
        if not ours["sample"]:
            continue
        times = [median(results.values(sample_ms, side=side, **what)) for side in sides]
        ratios = [spread(results.ratios(sample_ms, side, **what)) for side in sides[1:]]
        rows.append([stem(config), str(ours["sample_images"]), str(ours["evaluations"]), *times, *ratios])
    heading = ["configuration", "images", "evaluations", *(f"{SIDES[side]} ms" for side in sides)]
    return table(heading + ["PyTorch / Sinter", "compiled / Sinter"], rows)


def memory(results):
    rows = []
    for config in results.configs("train"):
        peaks = []
        for side in SIDES:
            reports = results.values(
                lambda report: report["train_peak_memory_gib"], kind="train", config=config, side=side
            )
            peaks.append(f"{max(reports.values()):.2f}" if reports else "–")
        rows.append([stem(config), *peaks])
    return table(["configuration", *(f"{name} GiB" for name in SIDES.values())], rows)


def cold_start(results):
    rows = []
    for side in ["sinter", "eager"]:
        what = {"kind": "cold start", "side": side}
        seconds = results.values(lambda report: report["wall_ms"] / 1e3, **what)
        memory = results.values(lambda report: report["peak_memory_gib"], **what)
        cells = [spread(list(values.values()), lambda value: f"{value:.3f}") for values in [seconds, memory]]
        ratios = results.ratios(lambda report: report["wall_ms"], side, kind="cold start")
        rows.append([SIDES[side], *cells, spread(ratios) if side != "sinter" else ""])
    return table(["", "seconds", "peak GiB", "PyTorch / Sinter"], rows)


def first_step(results):
    rows = []
    for config in results.configs("train"):
        reports = [results.select(kind="train", config=config, side=side).get(0) for side in SIDES]
        rows.append([stem(config), *(number(report["first_step_ms"] / 1e3) if report else "–" for report in reports)])
    return table(["configuration", *(f"{name} s" for name in SIDES.values())], rows)


def threads(results):
    rows = []
    for config in results.configs("train"):
        counts = sorted({job["threads"] for job, _ in results.entries if job.get("config") == config})
        alone = None
        for count in counts:
            what = {"config": config, "threads": count}
            ours, theirs = (results.values(step_ms, side=side, **what) for side in ["sinter", "eager"])
            own = statistics.median(ours.values())
            alone = alone or own
            ratio = spread(results.ratios(step_ms, "eager", **what))
            rows.append([stem(config), str(count), median(ours), median(theirs), ratio, f"{alone / own:.2f}"])
    heading = ["configuration", "threads", "Sinter ms", "PyTorch ms", "PyTorch / Sinter"]
    return table(heading + ["Sinter over its one thread"], rows)


def ceiling(results):
    """The most that either side got out of the machine."""
    measured = [report["ceiling"] for job, report in results.entries if job["kind"] == "operations"]
    return {key: max(one[key] for one in measured) for key in ["gflops", "copy_gbs"]}


def operations(results):
    most, rows = ceiling(results), []
    for index, operation in enumerate(results.select(kind="operations", side="sinter")[0]["operations"]):

        def forward(report):
            timing = report["operations"][index]["forward"]
            return timing and timing["median_ms"]

        def both(report):
            timing = report["operations"][index]["both"]
            return timing["median_ms"] if timing else forward(report)

        what = {"kind": "operations"}
        ours = results.values(forward, side="sinter", **what)
        compute, traffic = operation["gflop"] / most["gflops"], operation["megabytes"] / 1e3 / most["copy_gbs"]
        share = 1e3 * max(compute, traffic) / statistics.median(ours.values())
        rows.append(
            [
                operation["label"],
                median(ours),
                *(median(results.values(both, side=side, **what)) for side in SIDES),
                spread(results.ratios(forward, "eager", **what)),
                spread(results.ratios(both, "eager", **what)),
                spread(results.ratios(both, "compiled", **what)),
                f"{share:.0%}",
            ]
        )
    heading = ["operation", "Sinter forward ms", *(f"{name} both ms" for name in SIDES.values())]
    heading += ["PyTorch / Sinter, forward", "both", "compiled / Sinter, both", "of the ceiling, forward"]
    return table(heading, rows)


def picture(results):
    """Bars of the ratios of training and sampling, as SVG."""
    bars = []
    for name, value in [("step", step_ms), ("sampling", sample_ms)]:
        for config in results.configs("train"):
            for side in ["eager", "compiled"]:
                if ratios := results.ratios(value, side, kind="train", config=config):
                    bars.append((f"{stem(config)}, {name}: {SIDES[side]} / Sinter", side, ratios))
    left, unit, row = 330, 420 / max([1.5, *(max(ratios) for *_, ratios in bars)]), 22
    height, same = row * len(bars) + 46, left + unit
    outlined = 'stroke="white" stroke-width="4" paint-order="stroke"'
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 820 {height}" font-family="sans-serif" font-size="13">',
        f'<rect width="820" height="{height}" fill="white"/>',
        f'<path d="M{same:.1f} 4V{height - 26}" stroke="black" stroke-dasharray="4 3"/>',
    ]
    for index, (label, side, ratios) in enumerate(bars):
        y, middle = 10 + row * index, statistics.median(ratios)
        low, high = left + unit * min(ratios), left + unit * max(ratios)
        color = {"eager": "#d95f02", "compiled": "#7570b3"}[side]
        lines += [
            f'<text x="{left - 8}" y="{y + 13}" text-anchor="end">{label}</text>',
            f'<rect x="{left}" y="{y}" width="{unit * middle:.1f}" height="{row - 5}" fill="{color}"/>',
            f'<path d="M{low:.1f} {y + 8.5}H{high:.1f}" stroke="black"/>',
            f'<text x="{high + 6:.1f}" y="{y + 13}" {outlined}>{middle:.2f}</text>',
        ]
    lines += [
        f'<text x="{same:.1f}" y="{height - 10}" text-anchor="middle">as fast; to the right Sinter is faster</text>',
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def disturbance(results):
    """A sentence on what else ran."""
    shares = [report["share_of_others"] for _, report in results.entries if report["share_of_others"] is not None]
    if not shares:
        return ""
    return (
        f" Of the processor's time during a measurement, other programs and the hypervisor took"
        f" {statistics.median(shares):.1%} (median), at most {max(shares):.1%}."
    )


def whole(results, flags, data, folder):
    """The page."""
    about, most = data["identity"], ceiling(results)
    count = results.entries[0][0]["threads"]
    rounds = 1 + max(job["round"] for job, _ in results.entries if job["kind"] == "train")
    parts = [
        "# Speed beside PyTorch",
        f"The same networks, batches, optimizer (AdamW) and averages in Sinter and in PyTorch, f32 on the CPU, {count}"
        f" threads each unless said otherwise, measured in turn; rounds: {rounds}. Times are medians; a ratio is the"
        " median of the rounds' ratios, with the smallest and largest in brackets. In every table a ratio above 1 means"
        " that Sinter is faster. Before: the same program in Burn's own operations, without Sinter's kernels"
        " (`--composed`), measured once.",
        f"```sh\ncargo build --release\npython benches/peers/performance.py {flags}\n```",
        f"{about['processor']}, {about['cores']} cores. Sinter at commit {data['commit']}, PyTorch {about['torch']}."
        f" The machine's ceiling, the larger of what each side measured: {most['gflops']:.0f} GFLOP/s in a product of"
        f" two 2048 x 2048 matrices, {most['copy_gbs']:.1f} GB/s in a copy of 256 MiB, read and written."
        f"{disturbance(results)} Single numbers are in [data.json]({folder}/data.json).",
        f"![Ratios of training and sampling times]({folder}/ratios.svg)",
        "## Training step",
        "One update: forward, backward, clipped gradient, AdamW and one moving average. PyTorch in the usual style of"
        " modules and eager mode, and under `torch.compile`. Ratios above 1: Sinter is faster.",
        training(results),
        "## Memory",
        "Peak resident memory of the whole process after the training steps, libraries included; less is better.",
        memory(results),
        "## Sampling",
        "One batch of images without gradients or guidance, by Euler steps, with so many evaluations of the network."
        " Ratios above 1: Sinter is faster.",
        sampling(results),
        "## Cold start",
        "From the start of the process to its exit: a small perceptron is built, makes one training step on 256 points"
        " and is dropped. Files are in the system's cache. Ratios above 1: Sinter is faster.",
        cold_start(results),
        "The first training step of each configuration, in the first round: the time until training runs, without the"
        " start of the process. Compiled PyTorch compiles in it, with nothing cached; less is better.",
        first_step(results),
        "## Threads",
        "Training steps by number of threads, one round where the number is not the usual one. Ratios above 1: Sinter"
        " is faster; the last column is Sinter's own gain over one thread.",
        threads(results),
        "## Operations",
        'Single operations at the sizes they have in these networks. "Both" is forward and backward with the'
        " gradients of all inputs, or, where there is no backward, the operation itself. Ratios above 1: Sinter is"
        " faster. The last column is the time at the ceiling, by arithmetic or memory traffic, over Sinter's forward"
        " time; what fits into the caches can go beyond.",
        operations(results),
        "Written by `benches/peers/performance.py`.",
    ]
    return "\n\n".join(parts) + "\n"
