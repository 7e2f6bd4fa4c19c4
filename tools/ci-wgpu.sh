#!/usr/bin/env bash
# The networks' layers on a GPU interface without a GPU: Chromium's SwiftShader, a Vulkan driver that runs on the CPU.
#
#     tools/ci-wgpu.sh [wgpu|vulkan] [arguments of the test program]
#
# Runs by hand, on Debian or Ubuntu: 5 to 7 minutes after the build. Set with care, because SwiftShader is no GPU:
# - Burn's `autotune` is among the features, at its lowest level: the one product that Burn takes without it is zeros;
# - `fusion` is not: a matrix product fused with what follows comes back as zeros;
# - `wgpu` sends WGSL. On `vulkan`, which sends SPIR-V, SwiftShader cannot read all of Burn's products ("UNREACHABLE:
#   TypePointer"); those do nothing, so now and then one is the fastest, and its zeros are taken.
set -euo pipefail
cd "$(dirname "$0")/.."

device=${1:-wgpu}
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

# One selection of packages and features, so that everything is built once.
test=(cargo test --release -p sinter-models -p sinter-tests --features "sinter-models/$device,sinter-tests/$device")

# The layers one by one, then whole small networks with their gradients against the CPU's.
"${test[@]}" --lib -- --include-ignored layers devices_agree "$@"

# The smallest reference networks, where their files are.
for network in model_dit_p4_nosigma model_dtr model_switch_dit model_edm_songunet_skip model_edm_precond; do
    "${test[@]}" --test golden_models -- --test-threads 1 "$network"
done
