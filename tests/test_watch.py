"""Watching a team: frames, credits beside them, a GIF, and HTML without network."""

import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from ciabook.page.drawings import (
    DRAWINGS,
    draw_environment,
    draw_matrix,
    draw_turn,
    draw_what_is_seen,
    drawing_of,
)
from ciabook.watch import Animation, Watched, watch
from matplotlib.figure import Figure
from PIL import Image
from support.faults import refused
from support.runs import made_up
from support.toys import CIA, Stroll, rng, small

from ciacore import evaluate, train
from ciacore.games import GAMES, MatrixGame, Turn, make_game

pytestmark = pytest.mark.usefixtures("as_users_run_it")

CONFIG = small(**CIA)


@pytest.fixture(scope="module")
def turn():
    """A run on a short game of Turn, and the game."""
    game = Turn(horizon=5)
    return train(CONFIG, game, [1])[0], game


@pytest.fixture(scope="module")
def animation(turn) -> Animation:
    return watch(*turn, seed=3)


class Page(HTMLParser):
    """Tags with their attributes, and the text of scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.scripts, self.script = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.script = tag == "script"

    def handle_data(self, data):
        if self.script:
            self.scripts.append(data)
            self.script = False


# -------------------------------------------------------------------------- an episode


def test_it_is_the_episode_that_evaluate_plays(turn, animation):
    run, game = turn
    found = evaluate(run, game, episodes=1, seed=3, credits=True)
    assert len(animation.frames) == len(animation.captions) == 6
    gained = f"{float(found.returns[0]):.4g}"
    assert animation.captions[-1] == f"after 5 steps: return {gained}"
    assert animation.captions[0].startswith("step 0: reward ")


def test_an_episode_that_ends_early_ends_early():
    (run,) = train(CONFIG, Stroll(), [1])
    for seed in range(4):
        length = int(evaluate(run, Stroll(), 1, seed).lengths[0])
        assert len(watch(run, Stroll(), seed=seed).frames) == length + 1


@pytest.mark.parametrize("steps", [1, 3, 5, 50])
def test_fewer_steps_may_be_shown(steps, turn, animation):
    shown = watch(*turn, seed=3, steps=steps)
    count = min(steps, 5)
    assert len(shown.frames) == count + 1
    assert shown.captions[:count] == animation.captions[:count]


def test_credits_stand_beside_the_picture(turn, monkeypatch):
    """The bars are the credits that `evaluate` computes, step by step."""
    run, game = turn
    bars = []
    monkeypatch.setattr(
        "matplotlib.axes.Axes.barh",
        lambda _, agents, credits, **__: bars.append(credits),
    )
    watch(run, game, seed=3)
    found = evaluate(run, game, episodes=1, seed=3, credits=True).credits[0]
    assert np.array_equal(np.array(bars), found.numpy())


def test_the_same_seed_gives_the_same_bytes(turn, animation):
    assert watch(*turn, seed=3).html() == animation.html()
    assert watch(*turn, seed=4).html() != animation.html()


def test_what_cannot_be_watched_is_refused(turn):
    run, game = turn
    refused(lambda: watch("runs/turn", game), "run", "load_run")
    refused(lambda: watch(made_up(), game), "run", "with weights")
    refused(lambda: watch(run, Turn(size=4)), "spec")
    refused(lambda: watch(run, game, steps=0), "steps")
    refused(lambda: watch(run, game, seed=-1), "seed")


# ------------------------------------------------------------------------------- files


def test_a_gif_has_every_frame(animation, tmp_path):
    path = animation.save(tmp_path / "folder" / "team.gif", milliseconds=120)
    with Image.open(path) as gif:
        assert gif.format == "GIF" and gif.n_frames == 6
        assert gif.info["duration"] == 120 and gif.info["loop"] == 0
        pictures = []
        for index in range(gif.n_frames):
            gif.seek(index)
            pictures.append(np.asarray(gif.convert("RGB")))
    frame = np.asarray(Image.open(io.BytesIO(animation.frames[2])).convert("RGB"))
    assert np.abs(pictures[2].astype(int) - frame).mean() < 3
    assert len({picture.tobytes() for picture in pictures}) == 6


def test_html_needs_nothing_else(animation, tmp_path):
    """Every image and script lies in it, and no address."""
    text = animation.save(tmp_path / "team.html").read_text()
    assert animation.html() in text and text.startswith("<!DOCTYPE html>")
    without_images = re.sub(r"[A-Za-z0-9+/=]{200,}", "", text)
    assert len(without_images) < 6_000
    assert not re.search(r"//\w|url\(|@import|fetch|XMLHttp", without_images)
    page = Page(animation.html())
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "object", "embed"), tag
        assert attributes.get("src", "data:").startswith("data:")
        assert "href" not in attributes
    images = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(images) == 1 and images[0]["alt"] == animation.captions[0]
    buttons = [tag for tag, _ in page.tags if tag == "button"]
    assert len(buttons) == 3  # play or pause, a step back, a step on
    data = json.loads(page.scripts[0])
    assert data["captions"] == animation.captions
    assert len(data["images"]) == 6


def test_a_notebook_shows_it(animation):
    assert animation._repr_html_() == animation.html()
    assert repr(animation) == (
        "<qmix_cia on turn, seed 1: 6 frames; .save('team.gif')>"
    )


def test_files_that_cannot_be_are_refused(animation, tmp_path):
    refused(lambda: animation.save(tmp_path / "team.mp4"), "path", ".gif")
    refused(lambda: animation.save(tmp_path / "team.gif", 0), "milliseconds")
    (tmp_path / "file").touch()
    refused(lambda: animation.save(tmp_path / "file" / "team.gif"), "path")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


# ----------------------------------------------------------------------------- drawings


class Drawn(Stroll):
    """A game that draws itself, and whose states do not outlive a step."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn = []

    def draw(self, axis, state, actions):
        axis.set_title(f"time {int(state.t[0])}")
        self.drawn.append((int(state.t[0]), None if actions is None else len(actions)))


def test_a_game_may_draw_itself():
    (run,) = train(CONFIG, Stroll(), [1])
    game = Drawn()
    frames = watch(run, game, seed=1).frames
    last = len(frames) - 1
    assert game.drawn == [*((t, 2) for t in range(last)), (last, None)]


def test_a_drawing_is_found_by_class():
    class Mine(Turn):
        """A variation."""

    assert drawing_of(Turn()) is drawing_of(Mine()) is draw_turn
    assert drawing_of(MatrixGame([[0.0, 1.0], [1.0, 0.0]])) is draw_matrix
    assert drawing_of(Stroll()) is draw_what_is_seen
    assert all(callable(drawing) for drawing in DRAWINGS.values())


PAINTED = "pettingzoo:support.environments:Painted"


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.long)])
def test_an_environment_draws_itself_at_every_step(processes):
    (run,) = train(CONFIG, make_game(PAINTED), [1])
    game = make_game(PAINTED, render_mode="rgb_array", processes=processes)
    assert game.name == run.game  # how it looks is no part of what it is
    watched = Watched(game, None)
    state, generator = watched.reset(1, rng(0)), rng(0)
    shades = []
    actions = torch.zeros(1, game.spec.n_agents, dtype=torch.int64)
    for t in range(3):
        shades.append(int(game.picture(state)[0, 0, 0]))
        state = watched.advance(state, actions, generator).state
        assert watched.pictures[t].axes[0].images[0].get_array().max() == 200 - t
    assert shades == [200, 199, 198]
    assert len(watch(run, game, steps=2).frames) == 3
    game.close()


def test_without_a_picture_an_environment_is_shown_as_what_is_seen():
    game = make_game(PAINTED)
    assert drawing_of(game) is draw_environment
    state = game.reset(1, rng(0))
    assert game.picture(state) is None
    axis = Figure().subplots()
    draw_environment(axis, game, state, None)
    assert axis.get_title() == "what the agents see"


@pytest.mark.parametrize(
    ("picture", "told"), [("fails", "OSError: no display"), ("nothing", "[]")]
)
def test_an_environment_that_cannot_draw_is_refused(picture, told):
    game = make_game(PAINTED, render_mode="rgb_array", picture=picture)
    state = game.reset(1, rng(0))
    refused(lambda: game.picture(state), "render_mode", told, "Leave render_mode out")


def test_turn_shows_apple_and_agents_where_they_are():
    game = Turn()
    state = game.reset(1, rng(2))
    figure = Figure()
    axis = figure.subplots()
    draw_turn(axis, game, state, None)
    row, column = divmod(int(state.apple[0]), 5)
    diamond = next(line for line in axis.lines if line.get_marker() == "D")
    assert int(diamond.get_xdata()[0]) == column and int(diamond.get_ydata()[0]) == row
    assert {text.get_text() for text in axis.texts} == {"0", "1"}


def test_a_matrix_game_frames_the_joint_action():
    game = MatrixGame([[1.0, 2.0], [3.0, 4.0]])
    axis = Figure().subplots()
    draw_matrix(axis, game, None, np.array([1, 0]))
    (frame,) = axis.lines
    assert (frame.get_xdata()[0], frame.get_ydata()[0]) == (0, 1)
    assert [text.get_text() for text in axis.texts] == ["1", "2", "3", "4"]
    (run,) = train(CONFIG, game, [1])
    assert len(watch(run, game).frames) == 2


@pytest.mark.long  # the battle is compiled for it
def test_a_battle_is_drawn():
    game = GAMES["smax_10m_vs_11m"]()
    (run,) = train(small(**CIA, env_steps=1, evaluation_games=1), game, [1])
    shown = watch(run, game, steps=2)
    assert len(shown.frames) == 3
    watched = Watched(game, None)
    state = watched.reset(1, rng(1))
    watched.draw(state, None)
    circles, crosses = watched.pictures[0].axes[0].collections
    units = game.units(state)
    assert np.allclose(circles.get_offsets(), units.positions[0, :10])
    assert np.allclose(crosses.get_offsets(), units.positions[0, 10:])
    assert np.allclose(circles.get_sizes(), 70)  # unhurt
