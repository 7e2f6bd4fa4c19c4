"""The comparisons of `run.py`, which starts it with its environment's Python on SINTER, models.py and the report."""

import argparse
import copy
import importlib.util
import pathlib
import platform
import shlex
import shutil
import subprocess
import sys
import tomllib

import diffusers
import safetensors
import timm
import torch
from diffusers import DiTTransformer2DModel
from safetensors.torch import load_file, save_file

SINTER, MODELS, REPORT = map(pathlib.Path, sys.argv[1:4])
COMMIT = sys.argv[4]
CONFIG = pathlib.Path("tests/interop/dit.toml")
WORK = pathlib.Path("target/interop/work")
TOLERANCE = 1e-5
# The steps of a sample whose inputs are compared, and of how many.
STEPS, OF = 4, 20
IMAGES = 8

settings = tomllib.loads(CONFIG.read_text())
MODEL, SIZE = settings["model"], settings["data"]["source"]["resolution"]
CHANNELS = 3
# Of the networks that are made there.
VARIANCE = ["--set", "model.learned_variance=true"]
SETTINGS = {"dit": VARIANCE, "diffusers-dit": [*VARIANCE, "--set", "model.time_endpoint=true"]}

commands, figures, exact = [], [], []


def sinter(*arguments, fails=False):
    """Runs the binary; what it said on standard error."""
    arguments = [str(argument) for argument in arguments]
    commands.append(shlex.join(["sinter", *arguments]))
    done = subprocess.run([SINTER, *arguments], capture_output=True, text=True)
    if (done.returncode != 0) != fails:
        raise SystemExit(f"{commands[-1]}\nended with {done.returncode}\n{done.stderr}")
    return done.stderr


def original(classes, learned_variance):
    """facebookresearch/DiT's network."""
    spec = importlib.util.spec_from_file_location("dit_models", MODELS)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.DiT(
        input_size=SIZE, patch_size=MODEL["patch"], in_channels=CHANNELS, hidden_size=MODEL["width"],
        depth=MODEL["depth"], num_heads=MODEL["heads"], num_classes=classes, learn_sigma=learned_variance,
    ).eval()


def of_diffusers(classes, learned_variance):
    """diffusers' network; epsilon is a setting there, 1e-6 in DiT."""
    return DiTTransformer2DModel(
        sample_size=SIZE, patch_size=MODEL["patch"], in_channels=CHANNELS,
        out_channels=CHANNELS * (2 if learned_variance else 1), num_layers=MODEL["depth"],
        num_attention_heads=MODEL["heads"], attention_head_dim=MODEL["width"] // MODEL["heads"],
        num_embeds_ada_norm=classes, norm_eps=1e-6,
    ).eval()


def output(network, x, t, y):
    result = network(x, t, y)
    return result if torch.is_tensor(result) else result.sample


@torch.no_grad()
def inputs(network, classes):
    """States at the first steps of samples by Euler's method on straight lines, with their times and classes."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(IMAGES, CHANNELS, SIZE, SIZE, generator=generator)
    # The last class is "any".
    y = torch.linspace(0, classes, IMAGES).long()
    states = []
    for step in range(STEPS):
        t = torch.full([IMAGES], 1000 * (1 - step / OF))
        states.append((x, t, y))
        x = x - output(network, x, t, y)[:, :CHANNELS] / OF
    return [torch.cat(parts) for parts in zip(*states)]


@torch.no_grad()
def compare(what, network, run, checked=True):
    """The run's outputs beside the network's, on the same inputs."""
    classes = class_table(network).shape[0] - 1
    x, t, y = inputs(network, classes)
    given, found = WORK / "inputs.safetensors", WORK / "output.safetensors"
    save_file({"x": x, "t": t, "y": y.float()}, given)
    sinter("predict", run, "--inputs", given, "--out", found)
    ours, theirs = load_file(found)["output"].double(), output(network, x, t, y).double()
    if ours.shape != theirs.shape:
        raise SystemExit(f"{what}: {list(ours.shape)} here, {list(theirs.shape)} there")
    largest = ((ours - theirs).abs().max() / theirs.abs().max()).item()
    mean = ((ours - theirs).norm() / theirs.norm()).item()
    figures.append((what, largest, mean, checked))
    print(f"{what}: {largest:.2g}, {mean:.2g}")


def class_table(network):
    return next(value for name, value in network.state_dict().items() if name.endswith("embedding_table.weight"))


def load(network, file):
    network.load_state_dict(load_file(file), strict=True)
    return network


def randomize(network, seed):
    """Every parameter anew, so that no layer starts at zero; fixed positions stay."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            scale = 0.1 if parameter.dim() < 2 else parameter[0].numel() ** -0.5
            parameter.data = scale * torch.randn(parameter.shape, generator=generator)
    return network


def share_embeddings(network):
    """Block 0's embeddings of time and class in every block, as in the published weights."""
    for block in network.transformer_blocks[1:]:
        block.norm1.emb = copy.deepcopy(network.transformer_blocks[0].norm1.emb)
    return network


def to_pytorch():
    """Runs trained here."""
    ours, endpoint = WORK / "dit", WORK / "dit-endpoint"
    sinter("train", CONFIG, "--run", ours)
    sinter("train", CONFIG, "--run", endpoint, "--set", "model.time_endpoint=true")

    file = WORK / "dit.safetensors"
    sinter("export", ours, "--to", "dit", "--out", file)
    classes = load_file(file)["y_embedder.embedding_table.weight"].shape[0] - 1
    compare("trained here, in facebookresearch/DiT", load(original(classes, False), file), ours)

    file = WORK / "diffusers-endpoint.safetensors"
    sinter("export", endpoint, "--to", "diffusers-dit", "--out", file)
    compare("trained here with `time_endpoint`, in diffusers", load(of_diffusers(classes, False), file), endpoint)

    file = WORK / "diffusers.safetensors"
    warning = sinter("export", ours, "--to", "diffusers-dit", "--out", file)
    if "model.time_endpoint" not in warning:
        raise SystemExit("other frequencies of time, and no warning")
    network = load(of_diffusers(classes, False), file)
    compare("trained here without, in diffusers as it is", network, ours, checked=False)
    for block in network.transformer_blocks:
        block.norm1.emb.time_proj.downscale_freq_shift = 0
    compare("the same with `downscale_freq_shift = 0` there", network, ours)
    return classes


def bring(name, file, reference, more, network, what):
    """Imports a file, compares outputs, and exports it again: every tensor has to come back."""
    run, again = WORK / name, WORK / f"{name}-again.safetensors"
    sinter("import", file, CONFIG, "--from", reference, *more, "--run", run, *SETTINGS[reference])
    compare(what, network, run)
    sinter("export", run, "--to", reference, "--out", again)
    there, back = network.state_dict(), load_file(again)
    # Positions are computed anew, in more bits.
    same = there.keys() == back.keys() and all(
        torch.allclose(value, back[key], rtol=0, atol=1e-6) if key == "pos_embed" else torch.equal(value, back[key])
        for key, value in there.items()
    )
    exact.append((what, len(there), same))


def from_pytorch(classes):
    """Checkpoints made there."""
    network = randomize(original(classes, True), 2)
    other = randomize(original(classes, True), 3)
    file = WORK / "dit-there.pt"
    checkpoint = {"model": other.state_dict(), "ema": network.state_dict(), "args": argparse.Namespace(epochs=1)}
    torch.save(checkpoint, file)
    what = "made in facebookresearch/DiT, `torch.save`, `--part ema`"
    bring("dit-from-pt", file, "dit", ["--part", "ema"], network, what)
    file = WORK / "dit-there.safetensors"
    save_file(network.state_dict(), file)
    bring("dit-from-safetensors", file, "dit", [], network, "made in facebookresearch/DiT, safetensors")

    network = share_embeddings(randomize(of_diffusers(classes, True), 4))
    file = WORK / "diffusers-there.pt"
    torch.save(network.state_dict(), file)
    bring("diffusers-from-pt", file, "diffusers-dit", [], network, "made in diffusers, `torch.save`")
    network.save_pretrained(WORK / "diffusers-there")
    file = WORK / "diffusers-there/diffusion_pytorch_model.safetensors"
    bring("diffusers-from-safetensors", file, "diffusers-dit", [], network, "made in diffusers, `save_pretrained`")

    file = WORK / "unlike.safetensors"
    save_file(randomize(of_diffusers(classes, True), 5).state_dict(), file)
    command = ["import", file, CONFIG, "--from", "diffusers-dit", "--run", WORK / "unlike"]
    return sinter(*command, *SETTINGS["diffusers-dit"], fails=True)


def report(refusal):
    def lines(rows):
        return "\n".join(rows)

    def said(*command):
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    versions = {
        "Sinter": f"{said(SINTER, '--version').split()[-1]} ({said('git', 'rev-parse', '--short=12', 'HEAD')})",
        "Python": platform.python_version(),
        "PyTorch": torch.__version__,
        "diffusers": diffusers.__version__,
        "safetensors": safetensors.__version__,
        "timm": timm.__version__,
        "facebookresearch/DiT": f"{COMMIT}, `models.py` by its SHA-256",
    }
    text = f"""# Weights to PyTorch and back

```sh
python3 tests/interop/run.py
```

makes an environment with PyTorch, trains small DiTs here ({MODEL["depth"]} blocks, width {MODEL["width"]}), and takes them
to facebookresearch/DiT and to diffusers' `DiTTransformer2DModel`; then it brings networks with random weights here from
both. Both sides get the inputs of the first {STEPS} of {OF} steps of {IMAGES} samples, the last sample of the null
class. All is in 32-bit floats on a CPU. The command fails above {TOLERANCE:g}, but for the third row.

| network | largest difference / largest output | difference / output, in norm |
|---|---|---|
{lines(f"| {what} | {largest:.1e} | {mean:.1e} |" for what, largest, mean, _ in figures)}

At a time label of 1000 the angles of the time embedding are rounded to 6e-5, here and there in their own ways. Layers
with random weights pass more of that on than trained ones.

diffusers spaces the frequencies of its time embedding otherwise than facebookresearch/DiT, whose published weights it
takes as they are: `exp(-ln(10000) i / 127)` for `i` in `0..128`, not `/ 128`. The third row is what that makes of a
network trained with the latter; `sinter export` and `sinter import` warn of it.

Exported again, the networks from there have the tensors that they came with:

| network | tensors | bit for bit |
|---|---|---|
{lines(f"| {what} | {count} | {'yes' if same else 'no'} |" for what, count, same in exact)}

(`pos_embed`, which facebookresearch/DiT keeps, is computed anew, to 1e-6.)

A network of diffusers whose blocks embed time and class each in its own way is refused:

```text
{refusal.strip()}
```

| | |
|---|---|
{lines(f"| {name} | {version} |" for name, version in versions.items())}

The commands:

```sh
{lines(dict.fromkeys(commands))}
```

Written by `tests/interop/run.py`.
"""
    REPORT.write_text(text)
    print(REPORT)


def main():
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    report(from_pytorch(to_pytorch()))
    bad = [what for what, largest, _, checked in figures if checked and not largest <= TOLERANCE]
    bad += [what for what, _, same in exact if not same]
    if bad:
        raise SystemExit("not as there:\n" + "\n".join(bad))


if __name__ == "__main__":
    main()
