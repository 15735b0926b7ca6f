"""What the figures are drawn from, and what they show."""

from itertools import pairwise

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pytest
from ciabook.evidence.statistics import shift
from ciabook.page.plots import (
    AGENT_COLOURS,
    LABELS,
    METHOD_COLOURS,
    OTHER_COLOUR,
    colour_of,
    draw_board,
    forest,
    label_of,
    learning_curve,
    learning_curves,
    name_lines,
    pooled,
    scores,
    seed_lines,
)
from matplotlib.colors import to_rgb

from ciacore import METHODS, Config
from ciacore.runtime.store import Run
from ciacore.types import InvalidInputError


def run(seed, means, spacing=10):
    """A run whose evaluations have two games, one above and one below each mean."""
    metrics = {
        "env_steps": [spacing * (index + 1) for index in range(len(means))],
        "episode_return": [[value - 1, value + 1] for value in means],
    }
    return Run(Config(), "turn", seed, metrics, {}, {})


@pytest.fixture
def axis():
    figure, axis = plt.subplots()
    yield axis
    plt.close(figure)


def test_scores_are_means_cut_to_the_shortest_run():
    steps, values = scores([run(1, [1.0, 2.0, 3.0]), run(2, [5.0, 6.0])])
    assert steps.tolist() == [10, 20]
    assert values.tolist() == [[1.0, 2.0], [5.0, 6.0]]


def test_scores_of_different_schedules_are_refused():
    with pytest.raises(InvalidInputError, match="evaluations at the same env steps"):
        scores([run(1, [1.0]), run(2, [1.0], spacing=20)])


def test_pooled_by_hand():
    """Groups end at the last evaluation; the rest at the start is left out."""
    steps, values = pooled(
        np.array([1, 2, 3, 4, 5]), np.array([[9.0, 1.0, 3.0, 5.0, 7.0]]), 2
    )
    assert steps.tolist() == [3, 5]
    assert values.tolist() == [[2.0, 6.0]]


def test_curve_shows_the_mean_inside_its_band(axis):
    runs = [run(seed, [seed, 2.0 * seed]) for seed in (1, 2, 6)]
    interval = learning_curve(axis, runs, "QMIX")
    (line,) = axis.get_lines()
    assert line.get_ydata().tolist() == interval.value.tolist() == [3.0, 6.0]
    assert (interval.low <= interval.value).all() and (
        interval.value <= interval.high
    ).all()
    assert (interval.low < interval.high).all()
    assert line.get_xdata().tolist() == [10 / 1e6, 20 / 1e6]


def test_iqm_band_is_wider_than_the_half_interval(axis):
    runs = [run(seed, [float(seed**2)]) for seed in range(8)]
    narrow, wide = (learning_curve(axis, runs, name, name) for name in ("mean", "iqm"))
    assert wide.high - wide.low > narrow.high - narrow.low


def test_legend_says_how_many_seeds(axis):
    learning_curves(
        axis, {"QMIX": [run(1, [0.0])], "VDN": [run(1, [0.0]), run(2, [1.0])]}
    )
    assert [text.get_text() for text in axis.get_legend().get_texts()] == [
        "QMIX (1 seed)",
        "VDN (2 seeds)",
    ]
    # not told apart by colour alone
    assert len({line.get_marker() for line in axis.get_lines()}) == 2


def test_board_puts_agents_apple_and_fence_in_their_cells(axis):
    draw_board(axis, np.array([[0, 1], [4, 3]]), np.array([2, 2]), free=0)
    apple, first, second = (line.get_xydata()[0].tolist() for line in axis.get_lines())
    assert (apple, first, second) == ([2.5, 2.5], [1.5, 0.5], [3.5, 4.5])
    assert [text.get_text() for text in axis.texts] == ["0", "1"]
    (fence,) = [patch for patch in axis.patches if patch.get_hatch()]
    # around the trapped agent
    assert (int(fence.get_x()), int(fence.get_y())) == (3, 4)
    assert axis.get_ylim() == (5, 0)  # row 0 on top
    assert to_rgb(AGENT_COLOURS[0]) != to_rgb(AGENT_COLOURS[1])


def test_board_shows_an_apple_under_an_agent(axis):
    draw_board(axis, np.array([[2, 2], [4, 3]]), np.array([2, 2]), free=0)
    apple, agent, _ = axis.get_lines()
    assert apple.get_zorder() > agent.get_zorder()
    assert apple.get_xydata()[0].tolist() != agent.get_xydata()[0].tolist()


def test_forest_shows_estimate_interval_and_certainty(axis):
    effects = [
        shift(np.array([5.0, 7.0]), np.array([1.0, 2.0])),
        shift(np.array([0.0]), np.array([3.0])),
    ]
    forest(axis, ["first", "second"], effects, ["C0", "C1"])
    lines = [line.get_xdata() for line in axis.get_lines()]
    assert [list(line) for line in lines] == [[3, 6], [4.5], [-3, -3], [-3], [0, 0]]
    assert [text.get_text() for text in axis.texts] == ["67%", "0%"]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["first", "second"]
    assert axis.yaxis_inverted()


def test_a_certainty_that_all_rows_share_is_said_once(axis):
    effects = [shift(np.array([5.0, 7.0]), np.array([low, 2.0])) for low in (0.0, 1.0)]
    forest(axis, ["first", "second"], effects, ["C0", "C1"])
    assert axis.get_title(loc="right") == "intervals of 67%" and not axis.texts


def contrast_on_white(colour):
    """The ratio of WCAG 2: 1 is none, 21 is black."""
    linear = [
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in to_rgb(colour)
    ]
    return 1.05 / (np.dot(linear, (0.2126, 0.7152, 0.0722)) + 0.05)


def test_every_method_has_one_label_and_one_colour():
    assert set(LABELS) == set(METHOD_COLOURS) == set(METHODS)
    assert len(set(LABELS.values())) == len(METHODS)
    assert not any("_" in label for label in LABELS.values())
    assert label_of("mine") == "mine" and colour_of("mine") == OTHER_COLOUR


def test_colours_of_methods_are_told_apart_and_read_on_white():
    colours = [*METHOD_COLOURS.values(), *AGENT_COLOURS[:2]]
    parts = np.array([to_rgb(colour) for colour in colours])
    apart = np.linalg.norm(parts[:, None] - parts[None], axis=-1)
    apart += 10 * np.eye(len(colours))  # each is equal to itself
    assert apart.min() > 0.1  # of at most sqrt(3)
    # text in them is as legible as WCAG AA asks
    faint = {m: contrast_on_white(c) for m, c in METHOD_COLOURS.items()}
    assert min(faint.values()) >= 4.5, faint


def test_a_method_has_its_colour_in_every_curve(axis):
    runs = [run(seed, [seed, 2.0 * seed]) for seed in (1, 2)]
    learning_curve(axis, runs, "QMIX")
    steps, values = seed_lines(axis, runs)
    seed_lines(axis, runs, colour="#123456")
    colours = [line.get_color() for line in axis.get_lines()]
    assert colours == [METHOD_COLOURS["qmix"]] * 3 + ["#123456"] * 2
    assert steps.tolist() == [10 / 1e6, 20 / 1e6]
    assert values.tolist() == [[1.0, 2.0], [2.0, 4.0]]


def test_names_beside_lines_do_not_cover_each_other(axis):
    """Three lines that end at one height, and one far below."""
    axis.set_ylim(0, 100)
    heights = [99.0, 99.0, 99.0, 5.0]
    name_lines(axis, ["a", "b", "c", "d"], heights, ["C0", "C1", "C2", "C3"])
    axis.figure.canvas.draw()
    boxes = sorted((t.get_window_extent() for t in axis.texts), key=lambda box: box.y0)
    assert all(one.y1 <= other.y0 for one, other in pairwise(boxes))
    by_name = {text.get_text(): text.get_position()[1] for text in axis.texts}
    assert by_name["d"] == 5 and max(by_name.values()) <= 100
    assert by_name["a"] < by_name["b"] < by_name["c"]
