"""What the systemd unit of a rank says, whoever runs its container."""

from __future__ import annotations

from mimo_gb10.names import container_name, is_ip
from mimo_gb10.plan import LaunchPlan, RankLaunch
from mimo_gb10.targets.container import LOAD_SECONDS, STOP_SECONDS
from mimo_gb10.targets.files import hash_comment, heading
from mimo_gb10.text.systemd import command

# A rank that comes back while its group still ends fails once or twice more; a load that fails every time has to stop.
_LIMIT = "StartLimitIntervalSec=3h\nStartLimitBurst=10\n"

_RESTART = (
    "When one rank ends, the others lose it and end too (inferred: each step begins with a broadcast to all of them,\n"
    "sglang/srt/managers/scheduler.py, recv_requests). Each is restarted on its own node, and they meet anew."
)

_WAIT = 'until ip -o address show up to "$0" | grep -q .; do sleep 2; done'


def unit_name(plan: LaunchPlan, rank: RankLaunch) -> str:
    """The unit of a rank: what to give to ``systemctl``."""
    return f"{container_name(plan.recipe, rank.rank)}.service"


def unit_section(plan: LaunchPlan, rank: RankLaunch, *, after: str = "") -> str:
    """The comment at the top and the section ``[Unit]``."""
    needs = f"Requires={after}\n" if after else ""
    order = " ".join(filter(None, ["network-online.target", after]))
    return (
        f"{hash_comment(heading(plan, rank))}\n[Unit]\n"
        f"Description=SGLang, {plan.recipe}, rank {rank.rank} of {len(plan.ranks)}\n"
        f"Wants=network-online.target\n{needs}After={order}\n{_LIMIT}"
    )


def wait_for_fabric(rank: RankLaunch) -> str:
    """The step that waits until this node has its fabric address; nothing for a host name, which says no interface."""
    if not is_ip(rank.address):
        return ""
    address = rank.address.partition("%")[0]
    return "# The fabric can come up after the network does.\n" + command(
        "ExecStartPre", ("/bin/sh", "-ec", _WAIT, address)
    )


def service_limits() -> str:
    """Timeouts and the restart as a group."""
    return (
        "# The load, and the wait for the fabric and the other ranks before it.\n"
        f"TimeoutStartSec={LOAD_SECONDS + 600}\n"
        f"TimeoutStopSec={STOP_SECONDS + 30}\n{hash_comment(_RESTART)}Restart=always\nRestartSec=30\n"
    )


INSTALL = "\n[Install]\nWantedBy=multi-user.target\n"

AGAIN = (
    "Each rank ends when one of its group ends, and systemd starts each again 30 seconds later; after a reboot too.\n"
    "After ten failures in three hours it stops trying. A node that stops without closing its connections (power,\n"
    "cable) leaves the others waiting: stop all of them, then start all of them.\n"
)
