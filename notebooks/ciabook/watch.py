"""Watches a trained team: an animation for a notebook, a page, or a GIF.

One import, `from ciabook.watch import watch`, and one line, `watch(run, game)`.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from ciabook.page.drawings import drawing_of
from ciacore.learning.rollout import play
from ciacore.runtime.evaluation import (
    check_number,
    check_run,
    evaluate_on,
    greedy,
    team,
)
from ciacore.runtime.files import opened_whole
from ciacore.runtime.one_core import one_core
from ciacore.runtime.store import Run
from ciacore.types import Game, Spec, known_name, refuse

SCRIPT = Path(__file__).parent / "page" / "watch.js"
INCHES, DOTS = (7.2, 3.6), 80  # of a frame
COLOURS = 64  # of a frame; drawings have few
PAGE = """\
<div id="{name}" tabindex="0" role="group" aria-label="{title}">
<img alt="{first}" src="data:image/png;base64,{image}" \
style="max-width: 100%; background: white">
<div>
<button type="button" data-do="play">play</button>
<button type="button" data-do="back">step back</button>
<button type="button" data-do="next">step</button>
<input type="range" min="0" max="{last}" value="0" aria-label="step">
<span>{first}</span>
</div>
</div>
<script type="application/json" id="{name}-data">{data}</script>
<script>{script}
ciaWatch("{name}");</script>"""
DOCUMENT = """\
<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title></head>
<body>{body}</body></html>
"""


def watch(run: Run, game: Game, seed: int = 0, steps: int | None = None) -> Animation:
    """A greedy episode of a run's team, step by step, with the credits beside it.

    It is the first episode of `evaluate(run, game, episodes=1, seed=seed)`. The game is
    drawn by its own method `draw(axis, state, actions)`, if it has one, else as
    `ciabook.page.drawings` says.

    Args:
        run: with weights, e.g. `load_run("runs/turn/qmix_cia/seed_1")`.
        game: that it was trained on.
        seed: of the game's random numbers.
        steps: the most that are shown; None: the whole episode.

    Returns:
        What a notebook shows as an animation, and `save` writes to a file.

    Raises:
        InvalidInputError: as `evaluate`, or a number of steps below 1.
    """
    check_run(run)
    check_number("seed", seed, 0)
    if steps is not None:
        check_number("steps", steps, 1)
    with one_core():
        ours = team(run, game)
        policy, rng = greedy(ours, game, seed)
        watched = Watched(game, steps)
        episode = play(watched, policy, 1, rng, run.config.gamma)
        credits = evaluate_on(ours, episode).credits[0].numpy()  # [T, K]
    shown = min(int(episode.weights.sum()), steps or game.spec.horizon)
    watched.draw_last(shown)
    happened = Happened(
        credits=credits[:shown],
        actions=episode.actions[0, :shown].numpy(),
        rewards=episode.rewards[0, :shown].numpy(),
    )
    pictures = watched.pictures[: shown + 1]
    frames = [finished(picture, happened, t) for t, picture in enumerate(pictures)]
    captions = [caption(happened, t) for t in range(len(frames))]
    title = f"{run.config.method} on {game.name}, seed {run.seed}"
    return Animation(title, frames, captions)


# --------------------------------------------------------------------------- animations


class Animation:
    """Frames with captions: shown in a notebook, or saved."""

    def __init__(
        self, title: str, frames: Sequence[bytes], captions: Sequence[str]
    ) -> None:
        """Keeps the frames.

        Args:
            title: what a screen reader says of it.
            frames: one PNG file per step.
            captions: one per frame.
        """
        self.title, self.frames, self.captions = title, frames, captions

    def __repr__(self) -> str:
        """What shows where no HTML is drawn."""
        return f"<{self.title}: {len(self.frames)} frames; .save('team.gif')>"

    def _repr_html_(self) -> str:
        return self.html()

    def html(self) -> str:
        """The animation as HTML that needs nothing else, the network least of all."""
        images = [base64.b64encode(frame).decode() for frame in self.frames]
        data = {"images": images, "captions": list(self.captions)}
        text = json.dumps(data).replace("<", "\\u003c")
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        return PAGE.format(
            name=f"cia-watch-{digest}",
            title=self.title,
            first=self.captions[0],
            image=images[0],
            last=len(images) - 1,
            data=text,
            script=SCRIPT.read_text(encoding="utf-8"),
        )

    def save(self, path: str | Path, milliseconds: int = 250) -> Path:
        """Writes the animation to a file.

        Args:
            path: of the file: `.gif` for a GIF, `.html` for a page of its own.
            milliseconds: that a GIF shows a frame.

        Returns:
            The path.

        Raises:
            InvalidInputError: another ending, or the file cannot be written.
        """
        path = Path(path)
        check_number("milliseconds", milliseconds, 1)
        write = SAVED_AS[known_name(path.suffix, SAVED_AS, "path")]
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with opened_whole(path) as file:
                file.write(write(self, milliseconds))
        except OSError as error:
            got = f"{path} ({error.strerror})"
            refuse("path", "a file that can be written", got, "Choose another place.")
        return path


def as_gif(animation: Animation, milliseconds: int) -> bytes:
    """A GIF that plays for ever.

    Args:
        animation: what is shown.
        milliseconds: that each frame stays.
    """
    first, *others = [Image.open(io.BytesIO(frame)) for frame in animation.frames]
    file = io.BytesIO()
    first.save(
        file,
        "GIF",
        save_all=True,
        append_images=others,
        duration=milliseconds,
        loop=0,
    )
    return file.getvalue()


def as_page(animation: Animation, milliseconds: int) -> bytes:
    """A page of its own.

    Args:
        animation: what is shown.
        milliseconds: not used; a page has its own clock.
    """
    page = DOCUMENT.format(title=animation.title, body=animation.html())
    return page.encode()


# ending of a file -> what makes its content
SAVED_AS: dict[str, Callable[[Animation, int], bytes]] = {
    ".gif": as_gif,
    ".html": as_page,
}


# ------------------------------------------------------------------------------- frames


class Happened(NamedTuple):
    """What one episode gave, beside its pictures."""

    credits: np.ndarray  # [T, K], dQ_tot/dQ_k of the actions taken
    actions: np.ndarray  # [T, K]
    rewards: np.ndarray  # [T]


class Watched:
    """A game that is drawn while it is played, one game at a time.

    Each state is drawn before the next step, as a state may not outlive it.
    """

    def __init__(self, game: Game, steps: int | None) -> None:
        """Nothing is drawn yet.

        Args:
            game: any.
            steps: the most that are drawn; None: all.
        """
        self.game = game
        self.steps = steps
        self.name: str = game.name
        self.spec: Spec = game.spec
        self.observe = game.observe
        self.global_state = game.global_state
        self.available = game.available
        self.drawing = drawing_of(game)
        self.pictures: list[Figure] = []
        self.last: Any = None  # the state after the last step

    def reset(self, n_games: int, rng: Any) -> Any:
        """A fresh game; pictures begin anew.

        Args:
            n_games: 1.
            rng: for what is random.
        """
        self.pictures = []
        self.last = self.game.reset(n_games, rng)
        return self.last

    def advance(self, state: Any, actions: Any, rng: Any) -> Any:
        """Draws the state, and then plays a step.

        Args:
            state: of the game.
            actions: [1, K].
            rng: for what is random.
        """
        if self.steps is None or len(self.pictures) <= self.steps:
            self.draw(state, np.asarray(actions)[0])
        step = self.game.advance(state, actions, rng)
        self.last = step.state
        return step

    def draw(self, state: Any, actions: np.ndarray | None) -> None:
        """Adds a picture.

        Args:
            state: of one game.
            actions: [K] that are about to be taken; None: none.
        """
        figure = Figure(INCHES, DOTS, facecolor="white", layout="constrained")
        FigureCanvasAgg(figure)
        axis, _ = figure.subplots(1, 2, width_ratios=(1.2, 1))
        self.drawing(axis, self.game, state, actions)
        self.pictures.append(figure)

    def draw_last(self, steps: int) -> None:
        """Draws the state after the last step, if that is shown.

        Args:
            steps: how many are shown.
        """
        if len(self.pictures) == steps:
            self.draw(self.last, None)


def finished(picture: Figure, happened: Happened, t: int) -> bytes:
    """A frame: the picture of a step with the credits beside it, as a PNG file.

    Args:
        picture: of the game.
        happened: the whole episode.
        t: which step; T: the end.
    """
    draw_credits(picture.axes[-1], happened, t)
    picture.suptitle(caption(happened, t), fontsize=10)
    picture.canvas.draw()
    image = Image.fromarray(np.asarray(picture.canvas.buffer_rgba())).convert("RGB")
    file = io.BytesIO()
    image.quantize(COLOURS).save(file, "PNG", optimize=True)
    return file.getvalue()


def draw_credits(axis: Axes, happened: Happened, t: int) -> None:
    """A bar per agent: its credit at this step; all steps share a scale.

    Args:
        axis: to draw on.
        happened: the whole episode.
        t: which step; T: the end, which has none.
    """
    steps, n_agents = happened.credits.shape
    agents = np.arange(n_agents)
    labels = [f"agent {agent}" for agent in agents]
    if t < steps:
        axis.barh(agents, happened.credits[t], color="#0072b2")
        labels = [
            f"agent {agent}: action {action}"
            for agent, action in zip(agents, happened.actions[t], strict=True)
        ]
    low, high = min(0.0, happened.credits.min()), max(0.0, happened.credits.max())
    margin = 0.05 * (high - low) or 1.0
    axis.set(xlim=(low - margin, high + margin), ylim=(n_agents - 0.5, -0.5))
    axis.set(yticks=agents, yticklabels=labels, xlabel="credits dQtot/dQk")
    axis.tick_params(labelsize=8)


def caption(happened: Happened, t: int) -> str:
    """Which step this is, what it pays, and the return before it.

    Args:
        happened: the whole episode.
        t: which step; T: the end.
    """
    steps = len(happened.rewards)
    gained = float(happened.rewards[:t].sum())
    if t == steps:
        return f"after {steps} steps: return {gained:.4g}"
    reward = float(happened.rewards[t])
    return f"step {t}: reward {reward:.4g}, return before {gained:.4g}"
