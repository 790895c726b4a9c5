"""Tables of the results of the laboratory and the simulator."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from .examine import examine_kernel, examine_simulator
from .kinds import KINDS
from .matrix import MATRICES, pairs_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .matrix import Outcome, Pair

__all__ = ["lines", "markdown", "routers"]

ROUTERS = ("open", "moderate", "strict", "bare")


def routers() -> dict[str, tuple[dict[str, str], dict[str, str]]]:
    """The behaviour of the translators of kernel and simulator, by the name of the kind."""
    return {name: (examine_kernel(KINDS[name]), examine_simulator(KINDS[name])) for name in ROUTERS}


def lines(real: Mapping[Pair, Outcome], simulated: Mapping[Pair, Outcome]) -> Iterator[str]:
    """A line for each pair."""
    for pair, outcome in real.items():
        yield f"{pair!s:50} {outcome!s:30} {simulated[pair]}"


def markdown(real: Mapping[Pair, Outcome], simulated: Mapping[Pair, Outcome]) -> Iterator[str]:
    """The tables of ``doc/nat.md``."""
    for matrix, (kinds, _) in MATRICES.items():
        yield from (f"**{matrix}**", "")
        yield from _table(["walks \\ waits", *kinds])
        cells = [f"{_cell(real[pair], simulated[pair])}" for pair in pairs_of(matrix)]
        for number, kind in enumerate(kinds):
            yield f"| {kind} | {' | '.join(cells[number * len(kinds):(number + 1) * len(kinds)])} |"
        yield ""
    facts = routers()
    yield from ("**Single packets**", "")
    yield from _table(["property", *facts])
    for fact in dict.fromkeys(chain.from_iterable(kernel for kernel, _ in facts.values())):
        values = [_side_by_side(kernel.get(fact, "-"), simulator.get(fact, "-"))
                  for kernel, simulator in facts.values()]
        yield f"| {fact} | {' | '.join(values)} |"


def _table(columns: list[str]) -> tuple[str, str]:
    return f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"


def _cell(real: Outcome, simulated: Outcome) -> str:
    """Path and seconds, or the number of introductions; first of the laboratory, then of the simulator."""
    path = _side_by_side(real.path or "no", simulated.path or "no")
    if real.seconds is None or simulated.seconds is None:
        return path
    tries = "" if real.is_first_attempt and simulated.is_first_attempt else (
        f", {real.introductions} / {simulated.introductions} tries")
    return f"{path}, {real.seconds:.2f} / {simulated.seconds:.2f} s{tries}"


def _side_by_side(real: str, simulated: str) -> str:
    return real if real == simulated else f"{real} / simulator: {simulated}"
