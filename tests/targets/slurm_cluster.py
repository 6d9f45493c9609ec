"""A real Slurm with several nodes on this one machine, from Debian's packages, for as long as a test runs."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol")

_CONF = """\
ClusterName=probe
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
SlurmUser=root
SlurmctldParameters=enable_configless
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SlurmdParameters=config_overrides
ReturnToService=2
SelectType=select/linear
JobCompType=jobcomp/none
MpiDefault=none
NodeName=spark[1-{nodes}] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{first}-{last}] CPUs=1
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


@dataclass(frozen=True)
class Slurm:
    folder: Path

    def run(self, script: Path, env: Mapping[str, str], *options: str) -> str:
        """Submit a script, wait for its end, and give what it and its steps have printed."""
        base = {"PATH": f"{self.folder}/bin:/usr/sbin:/usr/bin:/bin", "SLURM_CONF": f"{self.folder}/slurm.conf"}
        command = ["sbatch", "--wait", *options, str(script)]
        done = subprocess.run(
            command, cwd=self.folder, env={**base, **env}, capture_output=True, text=True, check=False, timeout=120
        )
        logs = "".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("*-*.log")))
        return f"{done.returncode}\n{done.stdout}{done.stderr}{logs}"


def installed() -> bool:
    return os.getuid() == 0 and all(shutil.which(name, path="/usr/sbin:/usr/bin:/bin") for name in PROGRAMS)


def _free_ports(count: int) -> int:
    """The first of so many free ports in a row."""
    for first in range(24000, 32000, 50):
        with contextlib.ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return first
    raise RuntimeError("no free ports")


@contextlib.contextmanager
def running(folder: Path, nodes: int = 4) -> Iterator[Slurm]:
    """Start the daemons in a folder of their own, and end those and no others."""
    first = _free_ports(nodes + 1)
    (folder / "state").mkdir()
    host = socket.gethostname().split(".")[0]
    conf = _CONF.format(host=host, port=first, first=first + 1, last=first + nodes, nodes=nodes, folder=folder)
    (folder / "slurm.conf").write_text(conf, encoding="utf-8")
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    env = {"PATH": "/usr/sbin:/usr/bin:/bin", "SLURM_CONF": str(folder / "slurm.conf")}
    munge = [
        "munged", "--foreground", "--force", f"--key-file={key}", f"--socket={folder}/munge.socket",
        f"--pid-file={folder}/munge.pid", f"--log-file={folder}/munge.log", f"--seed-file={folder}/munge.seed",
    ]  # fmt: skip
    started: list[subprocess.Popen[bytes]] = []
    try:
        for command in (
            munge,
            ["slurmctld", "-D"],
            *(["slurmd", "-D", "-N", f"spark{n}"] for n in range(1, nodes + 1)),
        ):
            log = (folder / f"daemon{len(started)}.out").open("w")
            started.append(subprocess.Popen(command, env=env, stdout=log, stderr=log))
            log.close()
            time.sleep(0.5)
        deadline = time.monotonic() + 60
        while True:
            asked = subprocess.run(["sinfo", "-h", "-o", "%T %D"], env=env, capture_output=True, text=True, check=False)
            if asked.stdout.split() == ["idle", str(nodes)]:
                break
            if time.monotonic() > deadline:
                outputs = "".join(path.read_text() for path in folder.glob("daemon*.out"))
                raise RuntimeError(f"Slurm did not come up: {asked.stdout}{asked.stderr}{outputs}")
            time.sleep(0.5)
        yield Slurm(folder)
    finally:
        for process in reversed(started):
            process.terminate()
        for process in reversed(started):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(15)
                continue
            process.kill()
            process.wait()
