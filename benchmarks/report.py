"""What a benchmark found: figures with units and, where one was set, the goal.

A figure is the median of several rounds with the lowest and the highest beside it, because
the machines that run this are shared and single rounds wander.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured quantity over several rounds."""

    name: str
    unit: str
    rounds: Sequence[float]
    goal: float | None = None
    lower_is_better: bool = False

    @property
    def median(self) -> float:
        """The figure to quote."""
        return statistics.median(self.rounds)

    @property
    def reached(self) -> bool | None:
        """Whether the median reaches the goal; ``None`` if there is none."""
        if self.goal is None:
            return None
        return self.median <= self.goal if self.lower_is_better else self.median >= self.goal

    def row(self) -> str:
        """Return one row of a Markdown table."""
        low, high = min(self.rounds), max(self.rounds)
        goal = "" if self.goal is None else f"{'≤' if self.lower_is_better else '≥'} {self.goal:,g}"
        mark = {None: "", True: "yes", False: "**no**"}[self.reached]
        return (
            f"| {self.name} | {_short(self.median)} | {_short(low)} – {_short(high)} "
            f"| {self.unit} | {goal} | {mark} |"
        )


HEADING = (
    "| figure | median | range | unit | goal | reached |\n| --- | --: | --- | --- | --- | --- |"
)


def rounds(measure: Callable[[], float], *, count: int) -> list[float]:
    """Run ``measure`` once to warm up, then ``count`` times."""
    measure()
    return [measure() for _ in range(count)]


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
