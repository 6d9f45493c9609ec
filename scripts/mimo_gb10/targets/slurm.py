"""One ``sbatch`` script for all ranks: Slurm picks the nodes, and each task finds its own address and the head's."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from mimo_gb10.findings import Finding
from mimo_gb10.plan import MARKS, LaunchPlan, RankLaunch
from mimo_gb10.targets import container
from mimo_gb10.targets.files import (
    LaunchFile,
    executables,
    hash_comment,
    heading,
    nodes_differ,
    readme,
    same_for_all,
    shell,
)
from mimo_gb10.text.shell import comment, option_groups, quote

_VARIABLE = {mark: f'"$__{name}"' for name, mark in MARKS.items()}
_PART = re.compile(f"([{''.join(MARKS.values())}])")

_HEAD = """\
set -euo pipefail

# docker (the default), pyxis (set IMAGE too), or none: SGLang of the nodes' own environment.
CONTAINER=${{CONTAINER:-docker}}
IMAGE=${{IMAGE:-{image}}}
MODEL={model}
INTERFACE={interface}

# The address that a node has on the fabric. It runs outside the container, which need not have ip.
fabric_address() {{
  local found
  found=$(ip -o {family} address show dev "$INTERFACE" scope global | sed -n 's|.* inet6* \\([^ /]*\\)/.*|\\1|p')
  echo "$SLURM_PROCID ${{found%%$'\\n'*}}"
}}
export INTERFACE
task="$(declare -f fabric_address); fabric_address"
list=$(srun --ntasks-per-node=1 bash -c "$task" | sort -n | cut -d ' ' -f 2)
mapfile -t found <<< "$list"
if [[ ${{#found[@]}} -ne {ranks} || " ${{found[*]}} " == *"  "* ]]; then
  echo "not every one of {ranks} nodes has an address on $INTERFACE: ${{found[*]}}" >&2
  exit 1
fi
"""

_RUN = """\
export CONTAINER IMAGE MODEL ADDRESSES="${{found[*]}}"
options=(--kill-on-bad-exit=1 --ntasks-per-node=1 --output=%x-%j-rank%t.log)
if [[ $CONTAINER == pyxis ]]; then
  options+=("--container-image=$IMAGE" "--container-mounts=$MODEL:$MODEL:ro{config}" --no-container-mount-home)
fi
# In place of this shell: srun gets the job's signals and ends every rank when one ends.
exec srun "${{options[@]}}" bash -c "$(declare -f rank_task); rank_task"
"""


def refuse(plan: LaunchPlan) -> Sequence[Finding]:
    """Slurm picks which node runs which rank, so the nodes have to be alike."""
    return () if plan.one_for_all() is not None else [nodes_differ("slurm", "Slurm picks which node runs which rank")]


def file_name(plan: LaunchPlan) -> str:
    """The script's name."""
    return f"{container.slug(plan.recipe)}.sbatch"


def files(plan: LaunchPlan) -> Sequence[LaunchFile]:
    """The image's script, the job, and the README."""
    scripts = executables(container.prepare(plan))
    return (*scripts, LaunchFile(file_name(plan), render(plan), "bash"), _readme(plan))


def render(plan: LaunchPlan) -> str:
    """The job's script.

    Raises:
        ValueError: If the nodes are not alike; `refuse` says so first.
    """
    template = same_for_all(plan)
    config = container.config_file(template)
    values = {
        "image": quote(container.image(plan)),
        "model": quote(plan.model_path),
        "interface": quote(plan.interface),
        "family": "-6" if ":" in plan.ranks[0].address else "-4",
        "ranks": str(len(plan.ranks)),
    }
    more = "" if config is None else f",{_in_double_quotes(config)}:{_in_double_quotes(config)}:ro"
    return "".join(
        [
            "#!/usr/bin/env bash\n",
            hash_comment(heading(plan)),
            "".join(f"#SBATCH {option}\n" for option in _job(plan)),
            _HEAD.format(**values),
            "\n",
            _task(plan, template),
            "\n",
            _RUN.format(config=more),
        ]
    )


def _job(plan: LaunchPlan) -> Sequence[str]:
    return (
        f"--job-name={container.slug(plan.recipe)}",
        f"--nodes={len(plan.ranks)}",
        "--ntasks-per-node=1",
        "--exclusive",
        "--output=%x-%j.log",
        # A node that fails takes the job with it, and the whole job starts anew.
        "--requeue",
        # Two minutes before the job's time is over, every rank is asked to end.
        "--signal=TERM@120",
    )


def _task(plan: LaunchPlan, template: RankLaunch) -> str:
    """The function that every task runs: its rank is the task's number, the head is the first of the addresses."""
    # The name has the rank in it, and the image can be another one at submission.
    name = f"{plan.recipe}-rank{MARKS['rank']}"
    options = container.run_options(plan, template, name)
    exports = "".join(f"  export {name}={word(value)}\n" for name, value in template.env.items())
    return (
        "rank_task() {\n"
        "  local __rank __address __head __all\n"
        '  read -r -a __all <<< "$ADDRESSES"\n'
        "  __rank=$SLURM_PROCID\n"
        "  __address=${__all[__rank]}\n"
        "  __head=${__all[0]}\n"
        "  if [[ $CONTAINER == docker ]]; then\n"
        "    # A container outlives a task that was killed.\n"
        f"    docker rm --force {word(name)} > /dev/null 2>&1 || true\n"
        f"    exec docker run{_lines(options)}{_CONTINUED}{_IMAGE}{_lines(template.argv)}\n"
        "  fi\n"
        f"{exports}"
        f"  exec{_lines(template.argv)}\n"
        "}\n"
    )


_CONTINUED = " \\\n      "
_IMAGE = '"$IMAGE"'


def _lines(words: Iterable[str]) -> str:
    return "".join(_CONTINUED + " ".join(map(word, group)) for group in option_groups(list(words)))


def word(text: str) -> str:
    """One shell word that expands to `text`, with the task's own values in place of the marks."""
    parts = [_VARIABLE.get(part) or quote(part) for part in _PART.split(text) if part]
    return "".join(parts) or "''"


def _in_double_quotes(text: str) -> str:
    return re.sub(r'([\\"$`])', r"\\\1", text)


def _readme(plan: LaunchPlan) -> LaunchFile:
    name, job = file_name(plan), container.slug(plan.recipe)
    image = comment(container.image(plan))
    start = (
        shell(f"sbatch {name}")
        + "\nSlurm picks the nodes; add your partition or account as options of sbatch. The job's first node is the\n"
        f"head. Every node needs a fabric address on the interface `{plan.interface}`, the checkpoint and the image.\n"
        "\nWith Pyxis and Enroot, from a file that every node sees:\n\n"
        + shell(
            f"enroot import --output {job}.sqsh {quote(f'dockerd://{image}')}\n"
            f'CONTAINER=pyxis IMAGE="$PWD/{job}.sqsh" sbatch {name}'
        )
        + "\nWithout a container, in an environment that has SGLang with its patches:\n\n"
        + shell(f"CONTAINER=none sbatch {name}")
    )
    sections = {
        "Before the first start": container.prepare_note(plan, plan.ranks[0]),
        "Start": start,
        "Ready": "The head is the job's first node:\n\n"
        + shell(
            f'head=$(scontrol show hostnames "$(squeue --noheader --name={job} --format=%N)" | head -n 1)\n'
            f'python scripts/smoke_test.py --url "http://$head:{plan.ranks[0].option("--port")}" '
            f"--recipe {quote(plan.recipe)} --wait 3600"
        ),
        "Logs and state": shell(f"squeue --name={job}\ntail -f {job}-*-rank*.log"),
        "Stop": shell(f"scancel --name={job}"),
        "When a rank ends": "Slurm ends the others and the job. Submit it again. When a node fails, Slurm puts the job "
        "back into the\nqueue by itself.\n",
    }
    return readme(plan, "Slurm", sections)
