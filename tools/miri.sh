#!/usr/bin/env bash
# The plain-slice kernels under Miri, Rust's interpreter, which sees every access outside of an allocation, read of
# memory that nobody wrote, broken aliasing rule and data race of `unsafe` code.
#
#     tools/miri.sh [filter of the tests, `slices::` unless given]
#
# Needs rustup, which fetches a nightly toolchain with Miri where there is none. All instruction sets run: Miri knows
# the vector instructions, and takes those that the code is compiled for as the machine's. The `gemm` crate is replaced
# by plain loops (crates/kernels/src/slices/matrix.rs). Where this is too slow for a test's sizes, the test has smaller
# ones `if cfg!(miri)`.
set -euo pipefail
cd "$(dirname "$0")/.."

rustup component list --toolchain nightly --installed 2>/dev/null | grep -q ^miri ||
    rustup toolchain install nightly --profile minimal --component miri,rust-src

flags=(
    # Rayon's threads outlive the program, and with them what they hold.
    -Zmiri-ignore-leaks
    # Rayon asks for the number of processors.
    -Zmiri-disable-isolation
    # The deques of crossbeam, which rayon is built on, keep to this model of aliasing but not to the older default.
    -Zmiri-tree-borrows
    # The tests ask for the same bits twice; Miri would otherwise vary the last ones of a logarithm, as machines do.
    -Zmiri-deterministic-floats
)
export MIRIFLAGS="${flags[*]} ${MIRIFLAGS:-}"
export RUSTFLAGS="-Ctarget-feature=+avx2,+fma,+avx512f,+avx512dq,+avx512bw,+avx512vl ${RUSTFLAGS:-}"
# Enough for threads to meet, and no more: Miri runs one at a time.
export RAYON_NUM_THREADS=3
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target/miri}
cargo +nightly miri test -p sinter-kernels --lib "${@:-slices::}"
