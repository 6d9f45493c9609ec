"""From the launch plan to a launch with a tiny model: what is replaced, each with its reason, and nothing else."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mimo_gb10.context import Context
from mimo_gb10.names import with_port
from mimo_gb10.plan import LaunchPlan, RankLaunch

LOOPBACK = "127.0.0.1"
TOKENS = 131072
"""KV slots of a rehearsal: a tiny model would fill a GPU with tens of millions of them."""

_GB10 = "12.1"


@dataclass(frozen=True)
class Local:
    """One machine that stands for all nodes, a GPU for each rank.

    Attributes:
        ranks: How many; also the tensor parallel size.
        checkpoint: The tiny model's folder.
        port: HTTP port of rank 0; rank N listens on port + N, the ranks meet on port + `RENDEZVOUS`.
        capability: Compute capability of the GPUs.
        gpus: Index of the GPU of each rank; all visible ones in order if empty.
    """

    ranks: int
    checkpoint: str
    port: int
    capability: str
    gpus: tuple[str, ...] = ()

    def gpu(self, rank: int) -> str:
        """The GPU of a rank, as CUDA_VISIBLE_DEVICES takes it."""
        return self.gpus[rank] if self.gpus else str(rank)

    @property
    def shares_gpus(self) -> bool:
        """Whether a GPU has more than one rank."""
        return len({self.gpu(rank) for rank in range(self.ranks)}) < self.ranks


RENDEZVOUS = 500


@dataclass(frozen=True)
class Change:
    """One thing in which a rehearsal differs from the recipe's launch.

    Attributes:
        what: The flag or variable.
        before: Its value in the launch, or None if it is not there.
        after: Its value in the rehearsal, or None if it is taken away; ``{rank}`` differs by rank.
        why: The reason.
    """

    what: str
    before: str | None
    after: str | None
    why: str


def on_one_machine(plan: LaunchPlan, context: Context, local: Local) -> tuple[LaunchPlan, tuple[Change, ...]]:
    """The launch of the first ranks of a plan on one machine, over its loopback interface.

    Raises:
        ValueError: If the plan has fewer ranks than are asked for.
    """
    if local.ranks > len(plan.ranks):
        raise ValueError(f"the launch has {len(plan.ranks)} ranks, not {local.ranks}")
    nodes = {node.address for node in context.cluster.nodes}
    interfaces = {node.socket_interface for node in context.cluster.nodes}
    tensor_parallel = next(option for option in _spellings(context, "tensor-parallel-size"))
    changes: list[Change] = []
    ranks = []
    for launch in plan.ranks[: local.ranks]:
        edit = _Edit(launch)
        edit.flag(("--model-path",), local.checkpoint, "A tiny model of the same architecture, with random weights.")
        edit.flag(_spellings(context, "tensor-parallel-size"), str(local.ranks), "One rank a GPU.", tensor_parallel)
        edit.flag(("--nnodes",), str(local.ranks), "As many ranks as this machine has GPUs for.")
        edit.flag(("--dist-init-addr",), with_port(LOOPBACK, local.port + RENDEZVOUS), "All ranks are on one machine.")
        edit.flag(("--host",), LOOPBACK, "Nobody else is to reach it.")
        edit.flag(("--port",), str(local.port + launch.rank), "Every rank opens a port, and they share a machine.",
                  shown=f"{local.port} + rank")  # fmt: skip
        edit.without_fabric(nodes, interfaces)
        edit.variable("CUDA_VISIBLE_DEVICES", local.gpu(launch.rank), "A GPU for each rank.", shown="one for each rank")
        if local.shares_gpus:
            edit.variable(
                "NCCL_HOSTID", f"rehearsal-{launch.rank}", shown="another for each rank",
                why="NCCL refuses two ranks on one GPU of one host; so each rank counts as a host, as in life.",
            )  # fmt: skip
        _common(edit, context, local.capability)
        if context.release.flag("disable-custom-all-reduce") is not None:
            edit.switch(
                "--disable-custom-all-reduce", "Ranks on several nodes have none; on one machine it would be used."
            )
        changes += [change for change in edit.changes if change not in changes]
        ranks.append(edit.launch())
    return dataclasses.replace(plan, model_path=local.checkpoint, ranks=tuple(ranks)), tuple(changes)


def on_its_nodes(
    plan: LaunchPlan, context: Context, checkpoint: str, capability: str
) -> tuple[LaunchPlan, tuple[Change, ...]]:
    """The launch of a plan on the cluster itself: only the model is another one."""
    changes: list[Change] = []
    ranks = []
    for launch in plan.ranks:
        edit = _Edit(launch)
        edit.flag(("--model-path",), checkpoint, "A tiny model of the same architecture, with random weights.")
        _common(edit, context, capability)
        changes += [change for change in edit.changes if change not in changes]
        ranks.append(edit.launch())
    return dataclasses.replace(plan, model_path=checkpoint, ranks=tuple(ranks)), tuple(changes)


def audio_as_on_gb10(plan: LaunchPlan, capability: str, mended: Sequence[str]) -> tuple[LaunchPlan, tuple[Change, ...]]:
    """Send the patched audio encoder the way that it goes on GB10, where the GPU would have FlashAttention 3.

    Args:
        plan: The launch.
        capability: Compute capability of the GPUs.
        mended: The defects that patches mended in the SGLang that is run.
    """
    if "audio-encoder-flash-attn" not in mended or capability.partition(".")[0] not in ("8", "9"):
        return plan, ()
    edits = [_Edit(launch) for launch in plan.ranks]
    for edit in edits:
        edit.variable("REHEARSAL_AUDIO_CAPABILITY", _GB10, "The patched audio encoder takes the way it takes on GB10.")
    return dataclasses.replace(plan, ranks=tuple(edit.launch() for edit in edits)), tuple(edits[0].changes)


ENCODERS = "--mm-attention-backend"


def encoders_as_on_hopper(plan: LaunchPlan) -> tuple[LaunchPlan, tuple[Change, ...]]:
    """Let the encoders attend with FlashAttention 3, to compare with. It has their masks, and runs on Hopper only."""
    edits = [_Edit(launch) for launch in plan.ranks]
    for edit in edits:
        edit.flag((ENCODERS,), "fa3", "To compare with: FlashAttention 3 has the encoders' masks.")
    return dataclasses.replace(plan, ranks=tuple(edit.launch() for edit in edits)), tuple(edits[0].changes)


def _common(edit: _Edit, context: Context, capability: str) -> None:
    edit.default_flag(
        "--max-total-tokens", str(TOKENS), "A tiny model would fill the memory with millions of KV slots."
    )
    if context.release.flag("enable-metrics") is not None:
        edit.switch("--enable-metrics", "The rehearsal reads them.")
    if capability == _GB10:
        return
    # What follows is only so that another GPU takes the way that a GB10 takes, as far as it can.
    edit.replace_variable("TORCH_CUDA_ARCH_LIST", capability, "Kernels are built for the GPU that is there.")
    gemm = context.release.flag("fp8-gemm-backend")
    if gemm is not None and "triton" in (gemm.choices or ()):
        edit.default_flag("--fp8-gemm-backend", "triton", "What SGLang picks by itself on GB10.")
    edit.variable("SGLANG_ENABLE_JIT_DEEPGEMM", "0", "GB10 has no DeepGEMM.")
    edit.default_flag("--sampling-backend", "pytorch", "Sampling without kernels that are built at run time.")
    if capability.startswith("9.") and context.attention_backend == "triton":
        edit.default_variable(
            "DISABLE_MMA_V3", "1",
            "Hopper's wgmma gives NaN in SGLang's extend kernel with an FP8 KV cache (Triton 3.6.0). GB10 has none.",
        )  # fmt: skip


def _spellings(context: Context, option: str) -> tuple[str, ...]:
    flag = context.release.flag(option)
    # `--tp` is an abbreviation that SGLang's parser takes too.
    return (f"--{option}",) if flag is None else tuple(flag.options)


class _Edit:
    """One rank's launch while it is changed; every change is noted."""

    def __init__(self, launch: RankLaunch) -> None:
        self._rank = launch
        self._argv = list(launch.argv)
        self._env = dict(launch.env)
        self.changes: list[Change] = []

    def launch(self) -> RankLaunch:
        return dataclasses.replace(self._rank, argv=tuple(self._argv), env=self._env)

    def _note(self, what: str, before: str | None, after: str | None, why: str) -> None:
        if before != after:
            self.changes.append(Change(what, before, after, why))

    def _find(self, spellings: Sequence[str]) -> Iterator[tuple[int, str]]:
        for at, word in enumerate(self._argv):
            if word.partition("=")[0] in spellings:
                yield at, word

    def flag(
        self, spellings: Sequence[str], value: str, why: str, otherwise: str | None = None, shown: str | None = None
    ) -> None:
        """Give a flag another value, or add it under its first spelling if the launch lacks it."""
        for at, word in self._find(spellings):
            name, equals, before = word.partition("=")
            if equals:
                self._argv[at] = f"{name}={value}"
            else:
                before, self._argv[at + 1] = self._argv[at + 1], value
            self._note(name, before, shown or value, why)
            return
        name = otherwise or spellings[0]
        self._argv += [name, value]
        self._note(name, None, shown or value, why)

    def default_flag(self, name: str, value: str, why: str) -> None:
        """Add a flag unless the launch has it."""
        if not any(self._find((name,))):
            self.flag((name,), value, why)

    def switch(self, name: str, why: str) -> None:
        """Add a switch unless the launch has it."""
        if not any(self._find((name,))):
            self._argv.append(name)
            self._note(name, None, "on", why)

    def variable(self, name: str, value: str, why: str, shown: str | None = None) -> None:
        """Set a variable."""
        before = self._env.get(name)
        self._env[name] = value
        self._note(name, before, shown or value, why)

    def default_variable(self, name: str, value: str, why: str) -> None:
        """Set a variable unless the launch has it."""
        if name not in self._env:
            self.variable(name, value, why)

    def replace_variable(self, name: str, value: str, why: str) -> None:
        """Give a variable another value if the launch has it."""
        if name in self._env:
            self.variable(name, value, why)

    def without_fabric(self, addresses: set[str], interfaces: set[str]) -> None:
        """Replace the fabric's addresses and interfaces by the loopback's; there is no RDMA device."""
        for name, value in list(self._env.items()):
            if name == "NCCL_IB_HCA":
                del self._env[name]
                self._note(name, "the node's devices", None, "One machine needs no RDMA.")
            elif value in interfaces:
                self._env[name] = "lo"
                self._note(name, "the node's interface", "lo", "All ranks are on one machine.")
            elif value in addresses:
                self._env[name] = LOOPBACK
                self._note(name, "the node's address", LOOPBACK, "All ranks are on one machine.")


def changes_as_data(changes: Sequence[Change]) -> list[Mapping[str, str | None]]:
    """Plain data for a receipt."""
    return [dataclasses.asdict(change) for change in changes]
