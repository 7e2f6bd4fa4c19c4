"""Weights to PyTorch and back: the same outputs here and there, or it fails.

From the repository's root, after `cargo build --release`:

    python3 tests/interop/run.py

makes an environment with `requirements.txt` in `target/interop`, trains small DiTs, exports them, loads them into
facebookresearch/DiT and diffusers, compares outputs, brings checkpoints of both back, compares again, and writes
`docs/results/interop.md`. It takes minutes, and fails where a figure is not below the tolerance.

facebookresearch/DiT's `models.py` is downloaded; without a way to GitHub, name a copy with `--dit-models FILE`. For a
smaller PyTorch, `PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu`.
"""

import argparse
import hashlib
import pathlib
import subprocess
import sys
import urllib.request
import venv

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
WORK = ROOT / "target/interop"
DIT_COMMIT = "ed81ce2229091fd4ecc9a223645f95cf379d582b"
DIT_SHA256 = "1b8031a1340a3d1045c0bdb382334068f5f20e32edf67b3e6aba961ba91846ca"
DIT_URL = f"https://raw.githubusercontent.com/facebookresearch/DiT/{DIT_COMMIT}/models.py"


def python():
    """An environment's Python that has the requirements."""
    folder = WORK / "python"
    if not (folder / "bin/python").exists():
        venv.create(folder, with_pip=True)
    executable = folder / "bin/python"
    install = [executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, "-r", HERE / "requirements.txt"], check=True)
    return executable


def dit_models(given):
    """The path of facebookresearch/DiT's models.py at the pinned commit."""
    path = given or WORK / f"dit-{DIT_COMMIT[:12]}/models.py"
    if not path.exists() and given is None:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with urllib.request.urlopen(DIT_URL) as answer:
                path.write_bytes(answer.read())
        except OSError as error:
            raise SystemExit(f"{DIT_URL}: {error}; name a copy with --dit-models FILE")
    if hashlib.sha256(path.read_bytes()).hexdigest() != DIT_SHA256:
        raise SystemExit(f"{path} is not models.py of facebookresearch/DiT at {DIT_COMMIT}")
    return path


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sinter", type=pathlib.Path, default=ROOT / "target/release/sinter", help="the binary")
    parser.add_argument("--dit-models", type=pathlib.Path, help="facebookresearch/DiT's models.py")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "docs/results/interop.md", help="the report")
    arguments = parser.parse_args()
    if not arguments.sinter.is_file():
        raise SystemExit(f"{arguments.sinter} is not there: run `cargo build --release`, or name it with --sinter")
    models = dit_models(arguments.dit_models)
    compare = [python(), HERE / "compare.py", arguments.sinter, models, arguments.out]
    command = [*(path.absolute() for path in compare), DIT_COMMIT]
    sys.exit(subprocess.run(command, cwd=ROOT).returncode)


if __name__ == "__main__":
    main()
