"""The plan: what is loaded, what becomes KV, what is left, and for which ``mem-fraction-static`` that works out.

SGLang's rule, in short: measure what is available before loading (A), load, measure again, and give the KV pools
everything but (1 - fraction) * A. On GB10 "available" is Linux's own MemAvailable. So with L for what loading took

    KV = fraction * A - L        left for everything else = (1 - fraction) * A

and each estimate below counts against the second. A and the estimates are ranges: `Case` holds the two ends.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from mimo_gb10.memory import constants
from mimo_gb10.memory.after import after_items, reserved, tables_per_token
from mimo_gb10.memory.basis import Amount, Item, total
from mimo_gb10.memory.pools import Cell, Pools, cell_of, draft_bytes, pool_bytes, pools_of
from mimo_gb10.memory.setting import Setting
from mimo_gb10.memory.weights import Storage, checkpoint_storage, mtp_items, weight_items


@dataclass(frozen=True, slots=True)
class Case:
    """One end of the ranges: a tight node, or a roomy one.

    Attributes:
        fraction: ``mem-fraction-static``.
        available: Bytes available before loading.
        loaded: Bytes that loading takes, as far as SGLang sees them before it sizes the pools.
        budget: Bytes for the KV pools.
        pools: Their tokens.
        kv: Bytes of the pools as allocated, the MTP layers' own included.
        after: Bytes that come after the pools, without the MTP layers' pools.
        margin: Bytes left in the end; negative where the node runs out.
    """

    fraction: float
    available: float
    loaded: float
    budget: float
    pools: Pools
    kv: float
    after: float
    margin: float

    @property
    def boots(self) -> bool:
        """Whether there are pools and nothing runs out."""
        return self.pools.full > 0 and self.margin >= 0


@dataclass(frozen=True, slots=True)
class Range:
    """Values of ``mem-fraction-static`` on one node; empty where `low` is above `high`.

    Attributes:
        low: The least that leaves a KV pool.
        context: The least whose pool holds one request of the full context.
        high: The most that leaves room for the rest.
        safe: `high` less what Linux needs to stay free.
    """

    low: float
    context: float
    high: float
    safe: float


@dataclass(frozen=True, slots=True)
class Plan:
    """The memory of one node under a setting.

    Attributes:
        setting: The launch.
        loaded: Lines of what is loaded before the pools are sized.
        after: Lines of what comes after.
        cell: Bytes of a token on the tight end: with the MTP layers counted, if the release counts any.
        loose: The same on the roomy end: without them.
        available: What is available before loading.
        window: Tokens of the model's window.
        tight: Range on the node with least memory.
        roomy: Range on the node with most.
    """

    setting: Setting
    loaded: tuple[Item, ...]
    after: tuple[Item, ...]
    cell: Cell
    loose: Cell
    available: Amount
    window: int
    tight: Range
    roomy: Range

    def case(self, fraction: float, *, tight: bool) -> Case:
        """What a fraction comes to on the tight or the roomy end."""
        setting = self.setting
        available = self.available.low if tight else self.available.high
        loaded = total(self.loaded).of(tight=tight)
        budget = fraction * available - loaded - _held_back(setting)
        cell = self.cell if tight else self.loose
        pools = pools_of(budget, cell, setting, self.window)
        kv = pool_bytes(pools, cell, setting.page) + draft_bytes(pools, cell, setting.page)
        after = total(self.after).of(tight=tight) + pools.full * tables_per_token(setting)
        held = _held_back(setting)
        return Case(fraction, available, loaded, budget, pools, kv, after, available - loaded - kv - held - after)

    @property
    def recommended(self) -> tuple[float, float] | None:
        """Fractions that hold one full request and stay safe on every node that the plan knows; None if there are none.

        Rounded inwards to hundredths.
        """
        low, high = up(max(self.tight.context, self.roomy.context)), down(min(self.tight.safe, self.roomy.safe))
        return (low, high) if low <= high else None

    @property
    def shown(self) -> float:
        """The fraction that is shown in detail: the recipe's, else the middle of the recommended or of what boots."""
        if self.setting.fraction is not None:
            return self.setting.fraction
        low, high = self.recommended or (self.roomy.low, max(self.roomy.low, self.roomy.high))
        return round((low + high) / 2, 2)


def make_plan(
    facts: Mapping[str, Any], setting: Setting, available: Amount | None = None, storage: Storage | None = None
) -> Plan:
    """The plan of a setting.

    Args:
        facts: The model file.
        setting: The launch.
        available: What is available before loading, if it was measured; else the published range.
        storage: Format of the checkpoint; else the model file's.
    """
    stored = storage or checkpoint_storage(facts)
    mtp = tuple(mtp_items(facts, setting, stored))
    # Since 0.5.14 the draft's weights are loaded before the pools are sized; before, they come out of the rest.
    early = mtp if setting.is_from("0.5.14") else ()
    late = () if early else mtp
    loaded = (*weight_items(facts, setting, stored), *early)
    after = (*late, *after_items(facts, setting))
    window = facts["attention"]["sliding_window"]["window"]
    empty = Range(0, 0, 0, 0)
    cells = cell_of(facts, setting), cell_of(facts, setting, counted=False)
    plan = Plan(setting, loaded, after, *cells, available or constants.AVAILABLE, window, empty, empty)
    return replace(plan, tight=_range(plan, tight=True), roomy=_range(plan, tight=False))


def _held_back(setting: Setting) -> float:
    return reserved(setting).low if setting.is_from("0.5.18") else 0.0


def _range(plan: Plan, *, tight: bool) -> Range:
    context = plan.setting.context
    return Range(
        low=_least(plan, 1, tight=tight),
        context=_least(plan, context, tight=tight),
        high=_most(plan, 0, tight=tight),
        safe=_most(plan, constants.SAFETY.low, tight=tight),
    )


def _least(plan: Plan, tokens: int, *, tight: bool) -> float:
    """The least fraction whose full pool has so many tokens; above 1 where none has."""
    return _search(lambda fraction: plan.case(fraction, tight=tight).pools.full >= tokens)


def _most(plan: Plan, spare: float, *, tight: bool) -> float:
    """The largest fraction that leaves `spare` bytes; 0 where none does. The margin falls as the fraction grows."""
    return 1 - _search(lambda share: plan.case(1 - share, tight=tight).margin >= spare)


def _search(holds: Callable[[float], bool]) -> float:
    """The least value in 0 to 1 for which a condition holds that then holds for all larger ones; 2 if none."""
    if not holds(1.0):
        return 2.0
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


def up(fraction: float) -> float:
    """Rounded up to hundredths."""
    return math.ceil(fraction * 100 - 1e-9) / 100


def down(fraction: float) -> float:
    """Rounded down to hundredths."""
    return math.floor(fraction * 100 + 1e-9) / 100


def requests_that_fit(plan: Plan, case: Case) -> int:
    """Requests of the full context that the pools hold at once, no more than may run."""
    fit = case.pools.full // plan.setting.context
    return min(fit, plan.setting.requests) if plan.setting.requests is not None else fit
