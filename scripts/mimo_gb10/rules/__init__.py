"""Constraints between flags, model, cluster and release. One small class each; ALL_RULES is the list."""

from __future__ import annotations

from mimo_gb10.rules.base import Rule
from mimo_gb10.rules.memory import (
    HierarchicalCacheNeedsUnifiedTree,
    HierarchicalCacheResetsRatio,
    SpeculationCapsRequests,
    SwaRatio,
)
from mimo_gb10.rules.mends import DefectsKnown
from mimo_gb10.rules.multimodal import AudioUnderDpAttention, TorchcodecOnAarch64, VisionBackendOnGb10
from mimo_gb10.rules.network import Addresses, GrpcPort, HostIpIsAddress, OneRdmaHalf, PortClash
from mimo_gb10.rules.parallel import (
    DataParallelNeedsDpAttention,
    FusedQkvAttentionTp,
    NodeCount,
    TensorParallelFillsCluster,
)
from mimo_gb10.rules.pins import NcclDeadlock
from mimo_gb10.rules.serving import KeyOnCommandLine, OpenWithoutKey
from mimo_gb10.rules.speculation import (
    DraftTokens,
    MtpOnTriton,
    MtpWithoutGrammar,
    NextnNeedsMultiLayer,
    SpecVariableAlone,
)

ALL_RULES: tuple[Rule, ...] = (
    NodeCount(),
    FusedQkvAttentionTp(),
    TensorParallelFillsCluster(),
    DataParallelNeedsDpAttention(),
    DraftTokens(),
    NextnNeedsMultiLayer(),
    MtpOnTriton(),
    MtpWithoutGrammar(),
    SpecVariableAlone(),
    SpeculationCapsRequests(),
    SwaRatio(),
    HierarchicalCacheResetsRatio(),
    HierarchicalCacheNeedsUnifiedTree(),
    VisionBackendOnGb10(),
    AudioUnderDpAttention(),
    TorchcodecOnAarch64(),
    Addresses(),
    HostIpIsAddress(),
    PortClash(),
    GrpcPort(),
    OneRdmaHalf(),
    NcclDeadlock(),
    KeyOnCommandLine(),
    OpenWithoutKey(),
    DefectsKnown(),
)

__all__ = ["ALL_RULES", "Rule"]
