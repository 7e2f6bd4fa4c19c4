#!/usr/bin/env python3
"""Writes a page of docs/results from a finished run: what was run, on what, what came out, with its pictures.

    tools/record.py runs/quickstart "Quickstart" "What the first command of the README does."

Takes everything from the run directory but title and introduction. The page is docs/results/<name of the run>.md; the
newest sample grid and the curves go into docs/results/<name of the run>/.
"""

import json
import os
import pathlib
import shutil
import sys

RESULTS = pathlib.Path(__file__).parent.parent / "docs" / "results"


def processor():
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return "unknown processor"


def newest(records):
    """The records of the last evaluation, by metric."""
    last = max(record["protocol"]["subject"]["images"] for record in records)
    return [record for record in records if record["protocol"]["subject"]["images"] == last]


def total_minutes(minutes):
    """The clock starts anew where a run was continued."""
    total = last = 0.0
    for now in minutes:
        total += now - last if now >= last else now
        last = now
    return total


def evaluation(record):
    value = f"{record['value']:.4g}"
    if "interval" in record:
        low, high = record["interval"]
        value += f" [{low:.3g}, {high:.3g}]"
    return f"| {record['metric']} | {value} | {record['n']} |"


def main():
    run, title, introduction = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    provenance = json.loads((run / "provenance.json").read_text())
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    minutes = total_minutes(record["time/minutes"] for record in metrics if "time/minutes" in record)
    speeds = sorted(r["time/images_per_second"] for r in metrics if "time/images_per_second" in r)

    folder = RESULTS / run.name
    folder.mkdir(exist_ok=True)
    pictures = []
    newest_first = sorted((run / "samples").glob("*.png"), key=lambda path: -int(path.stem.split("-")[0]))
    grids = [(path, "samples.png") for path in newest_first if path.stem.isdigit()]
    maps = [(path, "experts.png") for path in newest_first if path.stem.endswith("-experts")]
    for source, name in grids[:1] + maps[:1] + [(run / "curves.png", "curves.png")]:
        shutil.copy(source, folder / name)
        pictures.append(f"![{name.removesuffix('.png')}]({run.name}/{name})")

    command = ["sinter", *provenance["command"][1:]]
    data = provenance["data"]
    records = [json.loads(path.read_text()) for path in sorted((run / "eval").glob("*.json"))] if (run / "eval").exists() else []
    lines = [
        f"# {title}",
        "",
        introduction,
        "",
        "```sh",
        " ".join(command),
        "```",
        "",
        f"Sinter {provenance['version']}, Burn {provenance['burn']}, {provenance['platform']}, {processor()},"
        f" {provenance['threads']} of {os.cpu_count()} cores. {minutes:.1f} minutes,"
        f" {speeds[len(speeds) // 2]:.0f} images/s in training (median).",
        f"Data: {data['name']}, {data['split']}, {data['count']:,} images, sha256 `{data['sha256'][:16]}…`;"
        f" configuration `{provenance['config_hash'][:16]}…`.",
        "",
        (run / "summary.md").read_text().strip(),
        "",
    ]
    if records:
        last = newest(records)
        subject, measurement = last[0]["protocol"]["subject"], last[0]["protocol"]["measurement"]
        lines += [
            f"The last evaluation, after {subject['images']:,} images: {subject['sampler']},"
            f" {subject['evaluations']} network evaluations, guidance {subject['guidance']:g},"
            f" reference {measurement['reference']}.",
            "",
            "| metric | value | samples |",
            "|---|---:|---:|",
            *map(evaluation, last),
            "",
        ]
    lines += [*pictures, "", f"Written by `tools/record.py {sys.argv[1]}`."]
    page = RESULTS / f"{run.name}.md"
    page.write_text("\n".join(lines) + "\n")
    print(page)


if __name__ == "__main__":
    main()
