"""A recipe on a cluster under a release: what the checks and rules look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mimo_gb10.cluster import Cluster
from mimo_gb10.findings import Location
from mimo_gb10.model import Model
from mimo_gb10.recipe import Recipe
from mimo_gb10.release import Release


@dataclass(frozen=True)
class Context:
    """Everything that is known before a launch.

    Attributes:
        recipe: What to serve.
        cluster: Where.
        model: The recipe's model.
        release: The catalog of the recipe's SGLang release.
    """

    recipe: Recipe
    cluster: Cluster
    model: Model
    release: Release

    @cached_property
    def _given(self) -> Mapping[str, tuple[str, Any]]:
        """(Name in the recipe, value) by the attribute a flag fills. A switch that is false counts as not given."""
        found = {}
        for name, value in self.recipe.flags.items():
            flag = self.release.flag(name)
            if flag is None or (flag.is_switch and value is False and not flag.can_be_negated):
                continue
            negated = flag.can_be_negated and name.startswith("no-")
            found[flag.dest] = (name, not value if negated else value)
        return found

    def is_given(self, option: str) -> bool:
        """Whether the recipe gives a flag, under any of its spellings. Rules name flags by their long option."""
        flag = self.release.flag(option)
        return flag is not None and flag.dest in self._given

    def value(self, option: str, otherwise: Any = None) -> Any:
        """The value that SGLang starts from: the recipe's, else the release's default, else `otherwise`.

        A release without the flag gives `otherwise`.
        """
        flag = self.release.flag(option)
        if flag is None:
            return otherwise
        if flag.dest in self._given:
            return self._given[flag.dest][1]
        return otherwise if flag.effective_default is None else flag.effective_default

    def number(self, option: str, otherwise: int) -> int:
        """Like `value` for a count; a value of the wrong type (which has its own finding) reads as `otherwise`."""
        value = self.value(option, otherwise)
        return value if isinstance(value, int) and not isinstance(value, bool) else otherwise

    def flag_location(self, *options: str) -> Location:
        """The place of the first of the flags that the recipe gives, else of its `flags`."""
        for option in options:
            if self.is_given(option):
                flag = self.release.by_option[f"--{option}"]
                return self.recipe.document.location(("flags", self._given[flag.dest][0]))
        return self.recipe.document.location(("flags",), key=True)

    def env_location(self, name: str) -> Location:
        """The place of a variable in the recipe."""
        return self.recipe.document.location(("env", name))

    @property
    def total_gpus(self) -> int:
        """GPUs of the nodes that the recipe spans."""
        return self.recipe.nodes * self.cluster.gpus_per_node

    @property
    def is_gb10(self) -> bool:
        """Whether the nodes can be GB10: those have one GPU each; other servers for MiMo-V2.5 have eight."""
        return self.cluster.gpus_per_node == 1

    @property
    def uses_dp_attention(self) -> bool:
        """Whether attention runs data-parallel, under either of the two ways releases have spelt it."""
        return self.value("enable-dp-attention") is True or self.number("attn-dp-size", 1) > 1

    @property
    def attention_tensor_parallel(self) -> int | None:
        """Over how many ranks one attention layer is split; None if the sizes do not divide."""
        data_parallel = self.number("attn-dp-size", 1)
        if data_parallel == 1 and self.value("enable-dp-attention") is True:
            data_parallel = self.number("dp-size", 1)
        divisor = data_parallel * self.number("attn-cp-size", 1)
        size = self.number("tp-size", 1)
        return size // divisor if divisor > 0 and size % divisor == 0 else None

    @property
    def speculative_algorithm(self) -> str | None:
        """The speculative algorithm, or None."""
        value = self.value("speculative-algorithm")
        return value.upper() if isinstance(value, str) else None

    @property
    def attention_backend(self) -> str:
        """The attention backend on GB10: the recipe's, else what SGLang picks for a model with sinks."""
        return str(self.value("attention-backend", "triton"))

    @property
    def decode_graphs_off(self) -> bool:
        """Whether CUDA graphs for decoding are switched off by any of the spellings."""
        return (
            self.value("disable-cuda-graph") is True
            or self.value("disable-decode-cuda-graph") is True
            or self.value("cuda-graph-backend-decode") == "disabled"
        )
