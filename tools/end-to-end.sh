#!/usr/bin/env bash
# The way of a user from configuration to report, in about two minutes: train, stop, resume, sample, evaluate.
#
# Takes the binary from target/release and builds it first if need be. Leaves its files under target/end-to-end.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --locked --release
sinter=${CARGO_TARGET_DIR:-target}/release/sinter
work=target/end-to-end
rm -rf "$work"
mkdir -p "$work"

say() { printf '\n-- %s\n' "$*"; }

say "the configuration is right, and its values say where they come from"
"$sinter" config check configs/quickstart.toml
"$sinter" config show configs/quickstart.toml | grep -q 'configs/process/flow.toml'
"$sinter" data show configs/quickstart.toml --n 16 --out "$work/data.png" > /dev/null

say "a straight run"
"$sinter" train configs/smoke.toml --run "$work/straight"

say "the same run, told to stop half way and continued"
"$sinter" train configs/smoke.toml --run "$work/resumed" --set train.time_limit=2 || test $? -eq 75
"$sinter" train configs/smoke.toml --run "$work/resumed"
test "$("$sinter" digest "$work/straight")" = "$("$sinter" digest "$work/resumed")"

say "samples and an evaluation with other settings than the run's"
"$sinter" sample "$work/straight" --out "$work/samples" --n 4 --class "red circle" --solver ddim --steps 5 --guidance 2
"$sinter" sample "$work/straight" --out "$work/samples" --n 4 --npz --solver '{type = "euler", clock = "time"}'
"$sinter" eval "$work/straight" --n 16 --ema raw

say "captions, points in the plane, a classifier"
"$sinter" train configs/shapes/captions-dit.toml --run "$work/captions" --set train.images=64 --set train.batch=8 \
    --set model.depth=1 --set model.width=48 --set sample.n=4 --set eval.n=8 --set eval.validation=8
"$sinter" sample "$work/captions" --out "$work/samples" --n 2 --caption "a red circle left of two blue squares"
"$sinter" train configs/toy2d/mlp-flow.toml --run "$work/toy2d" --set train.images=20000 --set eval.n=1000 \
    --set sample.n=500
"$sinter" train configs/classifier/shapes.toml --run "$work/classifier" --set train.images=640 \
    --set eval.validation=100

say "the quickstart, shortened: it learns"
"$sinter" train configs/quickstart.toml --run "$work/quickstart" \
    --set train.images=4800 --set eval.n=32 --set sample.n=16
losses=$(grep -o '"loss":[0-9.]*' "$work/quickstart/metrics.jsonl" | cut -d: -f2)
awk -v first="$(head -n 1 <<< "$losses")" -v last="$(tail -n 1 <<< "$losses")" \
    'BEGIN { print "loss", first, "to", last; exit !(last < 0.8 * first) }'
test -s "$work/quickstart/summary.md" && test -s "$work/quickstart/curves.png"
