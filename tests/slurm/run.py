"""A sweep through a real Slurm: every cell is done once, though tasks are killed and requeued, or it fails.

From the repository's root, after `cargo build --release`:

    python3 tests/slurm/run.py --install --page

installs Debian's `slurm-wlm` and `munge`, starts a cluster of one node on the loopback with keys, state and ports of its
own in `target/slurm`, submits an array of six cells as `sinter sweep emit slurm` writes it, kills the process of one cell
and requeues its task, requeues another task while it works, and waits. Then each cell must be done once, those two begun
twice, and both must have ended as they do without a kill, bit for bit. With `--page` it writes `docs/results/slurm.md`.

Without `--install` it is skipped where Slurm is not there. It needs no systemd and leaves nothing running.
"""

import argparse
import getpass
import json
import os
import pathlib
import platform
import shutil
import socket
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
WORK = ROOT / "target/slurm"
PROGRAMS = ["munged", "slurmctld", "slurmd", "sbatch", "scontrol", "squeue"]
# Seconds that anything may take.
PATIENCE = 180

sys.path.append(str(ROOT / "tools"))
from record import processor  # noqa: E402

SWEEP = """\
# Six cells of some seconds each.
name = "trial"
title = "Trial"
question = "Is every cell done once?"
paper = {{ title = "None", authors = "Nobody", reference = "none" }}
seeds = [1, 2, 3]

[base]
extends = "{preset}"
train = {{ images = 60000, batch = 100, checkpoint_every = 5000 }}
sample = {{ every = 0, n = 50, sampler.steps = 4 }}
eval = {{ every = 0, validation = 0, n = 100, batch = 100, reference_images = 100 }}
log = {{ every = 5000, tensorboard = false }}
device.threads = 1

[[axes]]
type = "grid"
name = "rate"
key = "optimizer.learning_rate"
values = [1e-3, 1e-4]

[tiers.smoke]
cost = {{ minutes = 0.2, on = "one CPU core" }}

[tiers.cpu]
cost = {{ minutes = 0.2, on = "one CPU core" }}

[[metrics]]
name = "distance"
title = "sliced Wasserstein distance"
from = {{ type = "record", metric = "SW2[" }}
better = "less"

[[claims]]
name = "order"
statement = "The first rate is better."
table = "none"
expect = {{ type = "less", metric = "distance", cell = {{ rate = "0.001" }}, than = {{ rate = "0.0001" }} }}
seeds = 3
"""

# cred_expire is also how long a requeued task waits before it starts again.
SLURM = """\
ClusterName=sinter
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={work}/munge.socket,cred_expire=5
CryptoType=crypto/munge
StateSaveLocation={work}/state
SlurmdSpoolDir={work}/spool
SlurmctldPidFile={work}/slurmctld.pid
SlurmdPidFile={work}/slurmd.pid
SlurmctldLogFile={work}/slurmctld.log
SlurmdLogFile={work}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,batch_sched_delay=1
KillWait=5
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory} State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def install():
    root = [] if os.geteuid() == 0 else ["sudo"]
    subprocess.run([*root, "apt-get", "update", "-qq"], check=True)
    command = [*root, "apt-get", "install", "-y", "-qq", "--no-install-recommends", "slurm-wlm", "munge"]
    subprocess.run(command, check=True, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})


def free_port():
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return opened.getsockname()[1]


def wait(what, found, seconds=PATIENCE):
    """The first answer that is one."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        answer = found()
        if answer:
            return answer
        time.sleep(0.05)
    raise SystemExit(f"after {seconds} s still not so: {what}; see the logs in {WORK}")


class Cluster:
    """munged, slurmctld and slurmd of this process alone."""

    def __enter__(self):
        began = time.monotonic()
        shutil.rmtree(WORK, ignore_errors=True)
        for name in ["state", "spool"]:
            (WORK / name).mkdir(parents=True)
        WORK.chmod(0o755)
        key = WORK / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        self.host = socket.gethostname().split(".")[0]
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
        configuration = WORK / "slurm.conf"
        configuration.write_text(
            SLURM.format(
                host=self.host,
                controller=free_port(),
                node=free_port(),
                user=getpass.getuser(),
                work=WORK,
                cpus=os.cpu_count(),
                memory=memory * 9 // 10,
            )
        )
        self.environment = {**os.environ, "SLURM_CONF": str(configuration)}
        self.daemons = []
        try:
            self.start(
                "munged",
                *["--foreground", "--force", "--num-threads=2", f"--key-file={key}"],
                *[f"--socket={WORK}/munge.socket", f"--pid-file={WORK}/munged.pid"],
                *[f"--log-file={WORK}/munged.log", f"--seed-file={WORK}/munge.seed"],
            )
            wait("munge's socket is there", (WORK / "munge.socket").exists)
            self.start("slurmctld", "-D", "-c")
            wait("the controller answers", lambda: "UP" in self.ask("scontrol", "ping"))
            self.start("slurmd", "-D", "-c", "-N", self.host)
            wait("the node is idle", lambda: "State=IDLE" in self.ask("scontrol", "show", "node", self.host))
        except BaseException:
            self.__exit__()
            raise
        self.seconds = time.monotonic() - began
        return self

    def start(self, program, *arguments):
        with open(WORK / f"{program}.output", "wb") as output:
            command = [shutil.which(program), *arguments]
            self.daemons.append(subprocess.Popen(command, env=self.environment, stdout=output, stderr=output))

    def ask(self, *command):
        answer = subprocess.run(command, env=self.environment, capture_output=True, text=True)
        return answer.stdout

    def __exit__(self, *_):
        for daemon in reversed(self.daemons):
            daemon.terminate()
            try:
                daemon.wait(10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


class Cell:
    """A cell's folder."""

    def __init__(self, root, cell):
        self.folder = root / "cells" / cell["hash"]
        self.number, self.label = cell["number"], cell["label"]

    def attempts(self):
        path = self.folder / "attempts.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        return [json.loads(line) for line in lines]

    def times(self, event):
        return sum(attempt["event"] == event for attempt in self.attempts())

    def midway(self):
        """Whether it works and has a checkpoint to go on from."""
        attempts = self.attempts()
        working = attempts and attempts[-1]["event"] == "begin"
        return working and (self.folder / "checkpoints/latest").exists()


class Trial:
    """The sweep, and what is done to it."""

    def __init__(self, cluster, sinter):
        self.cluster, self.sinter = cluster, sinter
        self.folder = WORK / "trial"
        self.folder.mkdir()
        (self.folder / "trial.toml").write_text(SWEEP.format(preset=ROOT / "configs/toy2d/mlp-flow.toml"))
        # The array's scripts and logs are named from here.
        self.sweep = pathlib.Path("runs/sweeps/trial/smoke")

    def call(self, *arguments):
        command = [self.sinter, *map(str, arguments)]
        answer = subprocess.run(command, cwd=self.folder, capture_output=True, text=True)
        if answer.returncode != 0:
            raise SystemExit(f"{' '.join(map(str, command))}\n{answer.stdout}{answer.stderr}")
        return answer.stdout

    def cells(self, root):
        index = json.loads((self.folder / root / "sweeps/trial/smoke/index.json").read_text())
        return [Cell(self.folder / root, cell) for cell in index["cells"]]

    def run(self):
        resources = ["--cpus", "1", "--memory", "1", "--minutes", "10", "--program", self.sinter]
        self.call("sweep", "emit", "slurm", "trial.toml", "--tier", "smoke", *resources)
        began = time.monotonic()
        script = ["sh", str(self.sweep / "slurm-submit.sh")]
        command = subprocess.run(
            script, cwd=self.folder, env=self.cluster.environment, capture_output=True, text=True, check=True
        )
        job = command.stdout.split()[-1]
        self.cells_run = self.cells("runs")
        assert len(self.cells_run) == 6, len(self.cells_run)

        # One is killed in the middle, by a blow that no handler sees; its task fails, and is requeued.
        self.killed = wait("a cell is midway", lambda: next((cell for cell in self.cells_run if cell.midway()), None))
        os.kill(self.killed.attempts()[-1]["process"], 9)
        task = f"{job}_{self.killed.number}"
        ended = wait("the killed task has failed", lambda: self.state(task, "FAILED", "NODE_FAIL"))
        self.requeue(task)
        print(f"{self.killed.label}: killed midway, task {task} was {ended}, requeued")

        # Another is requeued while it works.
        others = [cell for cell in self.cells_run if cell is not self.killed]
        self.requeued = wait("another cell is midway", lambda: next((cell for cell in others if cell.midway()), None))
        self.requeue(f"{job}_{self.requeued.number}")
        print(f"{self.requeued.label}: requeued midway")

        def queue():
            return self.cluster.ask("squeue", "--noheader", "--array", "--format=%i %T %r")

        wait("all tasks have ended", lambda: not queue().strip())
        self.seconds = time.monotonic() - began

    def state(self, task, *states):
        shown = self.cluster.ask("scontrol", "--oneliner", "show", "job", task)
        return next((state for state in states if f"JobState={state}" in shown), None)

    def requeue(self, task):
        command = ["scontrol", "requeue", task]
        subprocess.run(command, env=self.cluster.environment, check=True)

    def judge(self):
        """Every cell once, and those that were stopped as if nothing had been."""
        for cell in self.cells_run:
            stopped = cell in (self.killed, self.requeued)
            assert (cell.folder / "done.json").exists(), f"{cell.label} is not done"
            assert cell.times("done") == 1, f"{cell.label}: done {cell.times('done')} times"
            begun = cell.times("begin")
            assert begun == 1 + stopped, f"{cell.label}: begun {begun} times"
        again = self.call("sweep", "run", "trial.toml", "--tier", "smoke")
        assert "6 done (6 before), 0 failed" in again, again
        self.call("sweep", "expand", "trial.toml", "--tier", "smoke", "--root", "straight")
        straight = {cell.label: cell for cell in self.cells("straight")}
        for cell in (self.killed, self.requeued):
            other = straight[cell.label]
            self.call("train", "--cell", other.folder)
            assert self.call("digest", cell.folder) == self.call("digest", other.folder), f"{cell.label} ended otherwise"

    def page(self):
        version = self.cluster.ask("slurmctld", "-V").strip()
        munge = subprocess.run(["munged", "--version"], capture_output=True, text=True).stdout.split()[0]
        debian = pathlib.Path("/etc/debian_version")
        system = f"Debian {debian.read_text().strip()}" if debian.exists() else platform.platform()
        what = {self.killed: "process killed midway, task requeued", self.requeued: "requeued midway"}
        rows = [
            f"| {cell.number} | {cell.label} | {cell.times('begin')} | {cell.times('done')} | {what.get(cell, '')} |"
            for cell in self.cells_run
        ]
        lines = [
            "# A sweep through Slurm",
            "",
            "```sh",
            "python3 tests/slurm/run.py --install --page",
            "```",
            "",
            "An array of six cells, as `sinter sweep emit slurm` writes it, on a cluster of one node. The process of one cell is"
            " killed (SIGKILL) after its first checkpoint, and its task requeued; another task is requeued while it works.",
            "",
            f"{version}, {munge}, {system}; {processor()}, {os.cpu_count()} cores, beside other work. The cluster"
            f" starts in {self.cluster.seconds:.1f} s; from submission to the last cell {self.seconds:.0f} s.",
            "",
            "| cell | | begun | done | |",
            "|---:|---|---:|---:|---|",
            *rows,
            "",
            "Every cell is done once. The two that were stopped went on from their checkpoints and ended as runs that never"
            " were: `sinter digest` of weights, averages, moments and clock is the same. `sinter sweep run` afterwards finds all"
            " six done.",
            "",
            "What is not shown here: several nodes with a shared file system, on which the cells' locks must reach across.",
        ]
        path = ROOT / "docs/results/slurm.md"
        path.write_text("\n".join(lines) + "\n")
        print(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sinter", type=pathlib.Path, default=ROOT / "target/release/sinter", help="the binary")
    parser.add_argument("--install", action="store_true", help="install Slurm if it is not there")
    parser.add_argument("--page", action="store_true", help="write docs/results/slurm.md")
    arguments = parser.parse_args()
    # Daemons are where a user's path may not look.
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    if arguments.install and not all(map(shutil.which, PROGRAMS)):
        install()
    missing = [program for program in PROGRAMS if not shutil.which(program)]
    if missing:
        print(f"skipped: no {', '.join(missing)} (Debian's slurm-wlm and munge)")
        return
    with Cluster() as cluster:
        print(f"the cluster is up after {cluster.seconds:.1f} s")
        trial = Trial(cluster, arguments.sinter.resolve())
        trial.run()
        trial.judge()
        print(f"six cells, each done once, in {trial.seconds:.0f} s")
        if arguments.page:
            trial.page()


if __name__ == "__main__":
    main()
