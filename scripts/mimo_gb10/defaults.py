"""What ``--help`` must know without importing the rest of the library."""

from __future__ import annotations

DEFAULT_RECIPE = "gb10x4-omni"
"""Always the recipe with the strongest evidence."""

DEFAULT_CLUSTER = "example-4x-gb10"

DEFAULT_ROUTER = "cache-aware"

TARGETS = {
    "bash": "a script that runs SGLang in the current environment",
    "docker": "a script that runs the recipe's image with docker",
    "compose": "a Compose file per node, for docker compose",
    "systemd": "a systemd unit per node that runs the recipe's image with docker",
    "quadlet": "a Podman Quadlet per node: systemd runs the recipe's image with podman",
    "slurm": "one sbatch script for all ranks, with docker, Pyxis or neither",
    "lws": "a LeaderWorkerSet and its Service, for Kubernetes",
    "sparkrun": "a sparkrun recipe, with the patches as a mod",
}
"""Every target with its one-line description; each is the module of that name in `mimo_gb10.targets`."""

SCRIPT_TARGETS = ("bash", "docker")
"""Those that write one script per rank, to start by hand in the order that ``start-order.txt`` gives."""
