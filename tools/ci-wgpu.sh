#!/usr/bin/env bash
# The networks' layers on a GPU interface without a GPU: Chromium's SwiftShader, a Vulkan driver that runs on the CPU.
#
#     tools/ci-wgpu.sh [vulkan|wgpu] [arguments of the test program]
#
# Runs by hand, on Debian or Ubuntu. Two things are set with care, because SwiftShader is no GPU:
# - Burn's `fusion` is not among the features: a matrix product fused with what follows comes back
#   as zeros there;
# - autotuning is held at its lowest level, or a batched matrix product may be left half done.
#
# Open: on `vulkan` two of its twelve tests fail all the same, at every level of autotuning, because a matrix product is
# wrong there: `patches_are_a_strided_convolution` and `devices_agree_with_the_cpu`.
set -euo pipefail
cd "$(dirname "$0")/.."

device=${1:-vulkan}
shift $(($# > 0 ? 1 : 0))
driver=/usr/lib/chromium/vk_swiftshader_icd.json

if [[ ! -f $driver ]]; then
    root=()
    ((EUID == 0)) || root=(sudo)
    "${root[@]}" apt-get update -qq
    "${root[@]}" apt-get install -y -qq chromium libvulkan1
fi

export VK_ICD_FILENAMES=$driver
export CUBECL_AUTOTUNE_LEVEL=0
export SINTER_TEST_DEVICE=$device
# The layers one by one, then whole small networks with their gradients against the CPU's.
cargo test --release -p sinter-models --features "$device" --lib -- --include-ignored layers devices_agree "$@"
