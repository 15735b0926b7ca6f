"""The two-step game, and how VDN and QMIX fit it: something to step through in a page.

Every number is made here, by the library's mixers; scripts/two_step.js draws them.
"""

from __future__ import annotations

from collections.abc import Sequence

from ciabook.evidence.two_step_fit import payoffs, watch_best
from ciabook.page.explorers import Explorer, rounded

METHODS_SHOWN = (("vdn", "VDN"), ("qmix", "QMIX"))  # name, label


def two_step_explorer(
    safe: Sequence[float] = (7.0, 6.0),
    seeds: Sequence[int] = (0, 1, 2),
    steps: int = 120,
    every: int = 5,
) -> Explorer:
    """VDN and QMIX as they fit the two-step game, for some payoffs of the safe table.

    Args:
        safe: what the safe table pays; the first one is shown first.
        seeds: of the random starts; the one that ends with the most is shown.
        steps: gradient steps of a fit.
        every: how many of them lie between two pictures.

    Raises:
        InvalidInputError: steps is not a multiple of every.
    """
    games = []
    for paid in safe:
        fits = []
        for method, label in METHODS_SHOWN:
            found = watch_best(method, paid, seeds, steps, every)
            fits.append(
                {
                    "name": label,
                    "tables": [rounded(each.tables, 2) for each in found],
                    "greedy": [each.greedy.tolist() for each in found],
                    "earns": [each.earns for each in found],
                }
            )
        games.append({"safe": paid, "payoffs": payoffs(paid).tolist(), "fits": fits})
    title = "the two-step game, as VDN and QMIX fit it; arrow keys step"
    return Explorer("two-step", title, {"every": every, "games": games})
