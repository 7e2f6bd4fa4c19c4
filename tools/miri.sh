#!/usr/bin/env bash
# The plain-slice kernels under Miri, Rust's interpreter, which sees every access outside of an allocation, read of
# memory that nobody wrote, broken aliasing rule and data race of `unsafe` code.
#
#     tools/miri.sh [filters of the tests, `slices::` unless given]
#
# Takes about 15 minutes. Needs rustup, which fetches a nightly toolchain with Miri where there is none. Only the
# portable paths run, because Miri's machine has no AVX (tools/sanitizer.sh runs the others); the `gemm` crate, which has no
# such path, is replaced by plain loops. Under Miri the kernels cut work into smaller pieces, and the tests leave out
# their larger sizes.
set -euo pipefail
cd "$(dirname "$0")/.."

rustup component list --toolchain nightly --installed 2>/dev/null | grep -q ^miri ||
    rustup toolchain install nightly --profile minimal --component miri,rust-src

flags=(
    # Rayon's threads outlive the program, and with them what they hold.
    -Zmiri-ignore-leaks
    # Rayon asks for the number of processors.
    -Zmiri-disable-isolation
    # Crossbeam, which rayon is built on, keeps to this model of aliasing, but not to the older one that is the default;
    # and it stores marks in its pointers' low bits.
    -Zmiri-tree-borrows -Zmiri-permissive-provenance
    # The tests ask for the same bits twice; Miri would otherwise vary the last ones of a logarithm, as machines do.
    -Zmiri-deterministic-floats
)
export MIRIFLAGS="${flags[*]} ${MIRIFLAGS:-}"
# Enough for threads to meet; Miri runs one at a time.
export RAYON_NUM_THREADS=2
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target/miri}
(($# > 0)) || set -- slices::
cargo +nightly miri test -p sinter-kernels --lib -- "$@"
