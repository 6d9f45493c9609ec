"""Constraints between flags, model, cluster and release. One small class each; ALL_RULES is the list."""

from __future__ import annotations

from mimo_gb10.rules.base import Rule
from mimo_gb10.rules.mends import DefectsKnown
from mimo_gb10.rules.network import Addresses, GrpcPort, HostIpIsAddress, OneRdmaHalf, PortClash
from mimo_gb10.rules.parallel import FusedQkvAttentionTp, NodeCount, TensorParallelFillsCluster
from mimo_gb10.rules.speculation import DraftTokens, MtpOnTriton, NextnNeedsMultiLayer, SpecVariableAlone

ALL_RULES: tuple[Rule, ...] = (
    NodeCount(),
    FusedQkvAttentionTp(),
    TensorParallelFillsCluster(),
    DraftTokens(),
    NextnNeedsMultiLayer(),
    MtpOnTriton(),
    SpecVariableAlone(),
    Addresses(),
    HostIpIsAddress(),
    PortClash(),
    GrpcPort(),
    OneRdmaHalf(),
    DefectsKnown(),
)

__all__ = ["ALL_RULES", "Rule"]
