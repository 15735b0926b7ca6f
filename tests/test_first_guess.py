"""How hard foes should hit: the search, on rates that are known."""

import pytest
from ciabook.battles.first_guess import LARGEST, best, nearest_to_half


@pytest.mark.parametrize("half", [1, 2, 7, 15, 39, LARGEST])
def test_the_value_nearest_to_half_is_found(half):
    def rate(tenths: int) -> float:
        return min(max(0.5 - 0.04 * (tenths - half), 0.0), 1.0)

    tried = nearest_to_half(rate)
    assert best(tried) == half
    assert len(tried) <= 8


def test_of_two_values_equally_near_the_smaller_counts():
    rates = {1: 1.0, 6: 0.75, 7: 0.25, 8: 0.0, LARGEST: 0.0}
    assert best(rates) == 6


def test_where_teams_always_lose_the_softest_foes_are_taken():
    assert best(nearest_to_half(lambda tenths: 0.0)) == 1


def test_where_teams_always_win_all_values_are_equally_near():
    tried = nearest_to_half(lambda tenths: 1.0)
    assert max(tried) == LARGEST and best(tried) == 1
