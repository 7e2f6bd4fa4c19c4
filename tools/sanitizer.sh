#!/usr/bin/env bash
# The kernels under AddressSanitizer, on the instructions of this machine: the tests of the plain slices and the random
# ones of whole operations. Unlike Miri (tools/miri.sh) it also sees into the `gemm` crate and Burn.
#
#     tools/sanitizer.sh [filters of the tests, `slices:: properties::` unless given]
#
# Needs rustup, which fetches a nightly toolchain where there is none. Builds Burn anew: about 12 minutes on two cores.
set -euo pipefail
cd "$(dirname "$0")/.."

rustup toolchain list | grep -q ^nightly || rustup toolchain install nightly --profile minimal

target=x86_64-unknown-linux-gnu
export RUSTFLAGS="-Zsanitizer=address ${RUSTFLAGS:-}"
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target/sanitizer}
# Rayon's threads outlive the program, and with them what they hold.
export ASAN_OPTIONS=detect_leaks=0:${ASAN_OPTIONS:-}
(($# > 0)) || set -- slices:: properties::
cargo +nightly test --release --target "$target" -p sinter-kernels --lib -- "$@"
