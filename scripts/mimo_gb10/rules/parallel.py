"""Rules about how the model is split over nodes and GPUs."""

from __future__ import annotations

from collections.abc import Iterator

from mimo_gb10.context import Context
from mimo_gb10.findings import Finding, error, warning
from mimo_gb10.passage import Passage
from mimo_gb10.rules.base import Rule

_ARGS = "sglang/srt/server_args.py"
_HOOKS = "sglang/srt/arg_groups"


class NodeCount(Rule):
    """A recipe runs on a cluster of its own size.

    The number of nodes is part of the recipe: sizes, memory and evidence hold for that number.
    """

    code = "node-count"

    def check(self, context: Context) -> Iterator[Finding]:
        """Compare the recipe's `nodes` with the cluster's list."""
        wanted, there = context.recipe.nodes, len(context.cluster.nodes)
        if wanted != there:
            yield error(
                self.code,
                f"recipe {context.recipe.name} is for {wanted} nodes, cluster {context.cluster.name} has {there}",
                "Choose a recipe for that many nodes (gen_launch.py --list), or correct the cluster's list of nodes.",
                context.cluster.document.location(("nodes",)),
            )


class FusedQkvAttentionTp(Rule):
    """The attention tensor-parallel size must fit the checkpoint's fused qkv weights.

    MiMo-V2.5's qkv weights are interleaved for four ranks. Up to 0.5.16 SGLang takes four only; from
    0.5.17 any divisor of four. The size is that of one attention layer: tensor-parallel-size divided
    by the data-parallel and context-parallel sizes of attention.
    """

    code = "fused-qkv-attention-tp"
    options = ("tp-size", "dp-size", "enable-dp-attention", "attn-dp-size", "attn-cp-size")
    passages = (Passage((_ARGS, f"{_HOOKS}/model_hook.py"), r'"MiMoV2ForCausalLM requires effective attention TP "'),)

    def check(self, context: Context) -> Iterator[Finding]:
        """Compare the effective size with the one the weights are laid out for."""
        fused_for = context.model.fused_qkv_tensor_parallel
        if fused_for is None or context.model.architecture != "MiMoV2ForCausalLM":
            return
        size = context.attention_tensor_parallel
        divides = context.release.is_from("0.5.17")
        fits = size is not None and size > 0 and (fused_for % size == 0 if divides else size == fused_for)
        if not fits:
            wanted = f"divide {fused_for}" if divides else f"equal {fused_for}"
            got = f"is {size}" if size is not None else "is not a whole number"
            yield error(
                self.code,
                f"the attention tensor-parallel size {got}, "
                f"but it must {wanted} for this checkpoint's fused qkv weights",
                f"Set tensor-parallel-size so that, divided by the attention data-parallel size, it gives {fused_for}.",
                context.flag_location("tp-size", "dp-size", "attn-dp-size", "attn-cp-size"),
                self.source(context),
            )


class TensorParallelFillsCluster(Rule):
    """Tensor-parallel size times pipeline size must be the number of GPUs.

    SGLang refuses a product that the number of nodes does not divide, and a rank without a GPU fails
    after the rendezvous.
    """

    code = "tensor-parallel-gpus"
    options = ("tp-size", "pp-size")
    passages = (Passage((_ARGS, f"{_HOOKS}/validation_hook.py"), r"tp_size must be divisible by number of nodes"),)

    def check(self, context: Context) -> Iterator[Finding]:
        """Compare ranks with GPUs."""
        ranks = context.number("tp-size", 1) * context.number("pp-size", 1)
        gpus, nodes = context.total_gpus, context.recipe.nodes
        place = context.flag_location("tp-size", "pp-size")
        what = f"tensor-parallel-size x pipeline-parallel-size is {ranks}"
        if ranks < 1 or ranks > gpus or ranks % nodes:
            yield error(
                self.code,
                f"{what}, but {nodes} nodes with {context.cluster.gpus_per_node} GPU each have {gpus}",
                f"Set tensor-parallel-size so that the product is {gpus}.",
                place,
                self.source(context),
            )
        elif ranks < gpus:
            yield warning(
                self.code,
                f"{what}: {gpus - ranks} of {gpus} GPUs stay idle",
                f"Set tensor-parallel-size so that the product is {gpus}.",
                place,
                self.source(context),
            )


class DataParallelNeedsDpAttention(Rule):
    """Data parallelism over several nodes is attention's only.

    Replicas of the whole model on several nodes are refused; run one server per group of nodes behind a router
    instead. Up to 0.5.21 attention's data parallelism is dp-size with enable-dp-attention, from 0.5.22 it is
    attn-dp-size, and dp-size means replicas.
    """

    code = "multi-node-data-parallel"
    options = ("dp-size", "enable-dp-attention", "attn-dp-size")
    passages = (Passage((_ARGS, f"{_HOOKS}/validation_hook.py"), r"multi-node data.parallel"),)

    def check(self, context: Context) -> Iterator[Finding]:
        """dp-size above 1 over several nodes without DP attention."""
        if context.recipe.nodes > 1 and context.number("dp-size", 1) > 1 and not context.uses_dp_attention:
            newer = context.release.is_from("0.5.22")
            yield error(
                self.code,
                f"dp-size is {context.number('dp-size', 1)} over {context.recipe.nodes} nodes without DP attention",
                "Use attn-dp-size." if newer else "Add enable-dp-attention: true.",
                context.flag_location("dp-size"),
                self.source(context),
            )
