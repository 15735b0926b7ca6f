"""Explorers alone in headless Chromium: rules, tasks, touch, and what a phone shows.

They need no built book; test_browser.py looks at them in their chapters.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from ciabook.page.explorers import (
    Explorer,
    losses_let_loose,
    matrix_explorer,
    play_turn,
    sandbox,
    turn_explorer,
    turn_loop,
)
from ciabook.turn.scripted_players import FullInformation, Stay, Sweep, Trace, trace
from support.toys import rng

from ciacore import METHODS
from ciacore.cia import cc_loss, cia_loss
from ciacore.games import Turn
from ciacore.games.turn import EAT, UP
from ciacore.learning.exploration import EpsilonGreedy
from ciacore.learning.rollout import play
from ciacore.methods import assemble
from ciacore.runtime.evaluation import Team

pytestmark = [pytest.mark.browser, pytest.mark.long]
SIZES = {"desktop": (1280, 900), "phone": (390, 844)}
PAGE = """<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>an explorer</title></head>
<body>{body}</body></html>"""
# px of the smallest text as it is shown, in SVG and beside it
SMALLEST = """() => Math.min(...[...document.querySelectorAll(".cia-explorer *")]
    .filter(each => [...each.childNodes].some(
        node => node.nodeType === 3 && node.textContent.trim()))
    .map(each => parseFloat(getComputedStyle(each).fontSize)
        * (each.ownerSVGElement ? each.getScreenCTM().a : 1)))"""
TOO_WIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
LEVELS = {"staying": 0.0, "one apple": 10.0, "sweeping": 180.0, "knowing all": 232.0}


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-gpu"],
        )
        yield chromium
        chromium.close()


@pytest.fixture
def shown(browser, tmp_path: Path):
    """Opens an explorer in a page of its own; at the end nothing was complained of."""
    complaints, contexts = [], []

    def open_it(explorer: Explorer, size: str = "desktop", motion: str = "reduce"):
        file = tmp_path / "page.html"
        file.write_text(PAGE.format(body=explorer._repr_html_()), encoding="utf-8")
        width, height = SIZES[size]
        context = browser.new_context(
            viewport={"width": width, "height": height}, reduced_motion=motion
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(file.as_uri())
        return page.locator(".cia-explorer")

    yield open_it
    for context in contexts:
        context.close()
    assert not complaints


def numbers(windows: str) -> torch.Tensor:
    """[K, O], what a page says that agents see."""
    return torch.tensor([[float(each) for each in one] for one in windows.split()])


def expected(seed: int, policy) -> Trace:
    return trace(Turn(), policy, 1, torch.Generator().manual_seed(seed))


def test_a_scripted_player_earns_what_the_library_says(shown):
    """Both agents by key: every score and every view is that of the library's game."""
    box = shown(play_turn(LEVELS, boards=3))
    box.get_by_label("who plays the other agent").select_option(index=1)
    box.get_by_label("apples", exact=True).select_option(index=2)
    # a team that knows everything, but tears at fences and runs into borders at times
    game, generator = Turn(), torch.Generator().manual_seed(2)
    state = game.reset(1, generator)
    keys = [
        ["ArrowUp", "ArrowDown", "ArrowLeft", "ArrowRight", "e", "s"],
        ["i", "k", "j", "l", "o", "u"],
    ]
    box.focus()
    score = 0.0
    rewards = set()
    for t in range(game.spec.horizon):
        actions, _ = FullInformation().act(game, state, None, generator)
        if t % 7 == 0:
            actions[0, 1 - state.free] = EAT
        if t % 11 == 3:
            actions[:] = UP
        for agent in (0, 1):
            box.page.keyboard.press(keys[agent][int(actions[0, agent])])
        step = game.step(state, actions, generator)
        rewards.add(float(step.rewards))
        state, score = step.state, score + float(step.rewards)
        assert float(box.get_attribute("data-score")) == score
        seen = numbers(box.get_attribute("data-seen"))
        assert torch.equal(seen, torch.as_tensor(game.observe(state))[0].float())
    assert score > 100 and rewards >= {10, 0, -1}
    assert box.get_attribute("data-over") == "true"
    assert "The whole board, revealed" in box.inner_text()


@pytest.mark.parametrize("agent", [0, 1])
def test_the_mate_sweeps_as_the_librarys_searcher(shown, agent):
    """The reader by touch, the mate by its rule: together the library's Sweep."""
    record = expected(1, Sweep())
    box = shown(play_turn(LEVELS, boards=2), "phone")
    box.get_by_label("which agent you are").select_option(index=agent)
    box.get_by_label("apples", exact=True).select_option(index=1)
    press = (
        "([name, action]) => document.querySelector(name.replace('?', action)).click()"
    )
    for action in record.actions[0, :, agent].tolist():
        box.page.evaluate(press, [f"[data-agent='{agent}'][data-action='?']", action])
    assert float(box.get_attribute("data-score")) == float(record.rewards.sum())
    assert float(record.rewards.sum()) > 50


def an_episode() -> Explorer:
    game = Turn()
    teams = {}
    for seed, label in enumerate(("QMIX", "QMIX(CIA)")):
        torch.manual_seed(seed)
        config = METHODS["qmix"]
        teams[label] = Team("qmix", config, assemble(game.spec, config))
    policy = EpsilonGreedy(teams["QMIX"].parts.agent, 1.0)
    return turn_explorer(play(game, policy, 1, rng(3), 0.99), 0, teams)


def test_the_stepper_asks_before_it_tells(shown):
    explorer = an_episode()
    data, box = explorer.data, shown(explorer)
    right = 0
    for step, vote in enumerate([0, 1, 0]):
        assert box.get_attribute("data-hidden") == "true"
        assert "is free" not in box.inner_text().replace("Who is free", "")
        assert not box.locator("table").count()
        assert step or "Once you vote" in box.inner_text()
        box.get_by_role("button", name=f"agent {vote}", exact=True).click()
        right += data["free"][step] == vote
        assert f"agent {data['free'][step]} is free" in box.inner_text()
        assert f"score {right} of {step + 1}" in box.inner_text()
        counts = []
        for team in data["teams"]:
            pairs = zip(data["free"], team["credits"], strict=True)
            held = [credits[free] > credits[1 - free] for free, credits in pairs]
            counts.append(f"{team['name']} {sum(held[: step + 1])}")
        tally = f"larger credit: {', '.join(counts)} of {step + 1}."
        assert tally in box.inner_text()
        box.focus()
        box.page.keyboard.press("ArrowRight")
    box.get_by_role("button", name="reveal").click()
    assert (
        "score 2 of 3" in box.inner_text() or f"score {right} of 3" in box.inner_text()
    )
    assert f"agent {data['free'][3]} is free" in box.inner_text()
    # only steps with a vote count: not one that was revealed, nor those behind it
    assert tally in box.inner_text()
    box.focus()
    box.page.keyboard.press("End")
    assert tally in box.inner_text()
    box.get_by_label("ask me").uncheck()
    assert f"agent {data['free'][-1]} is free" in box.inner_text()
    assert tally in box.inner_text()


def test_the_penalty_at_which_qmix_tips_can_be_found(shown):
    box = shown(matrix_explorer(["match"], steps=20, seeds=[0]))
    first = box.locator(".cia-goal").first
    assert first.get_attribute("data-reached") == "false"
    slider = box.get_by_label("penalty for climbing alone")
    told = {}
    for penalty in (-7, -8, -12):
        slider.fill(str(penalty))
        cell = box.locator(f"[data-at='QMIX {penalty}']")
        box.page.wait_for_function(
            "name => document.querySelector(name).textContent !== '?'",
            arg=f"[data-at='QMIX {penalty}']",
        )
        told[penalty] = cell.text_content()
        reached = first.get_attribute("data-reached")
        assert reached == ("false" if penalty == -7 else "true")
    assert told[-7] == "\u2713" and told[-12] == "\u2717"
    # at -8 the two best sums are equal
    assert box.locator("[data-at='VDN -8']").text_content() == "tie"


def test_both_goals_of_the_sandbox_can_be_reached(shown):
    box = shown(sandbox([[2.0, 1.6], [1.0, 2.4]], [[1.0, 0.0], [2.2, 0.6]]))
    goals = box.locator(".cia-goal")
    for _ in range(20):
        box.get_by_role("button", name="one step downhill").click()
    assert goals.nth(1).get_attribute("data-reached") == "true"
    assert goals.nth(0).get_attribute("data-reached") == "false"
    box.get_by_role("button", name="start again").click()
    box.focus()
    for _ in range(10):  # the credits of agent 0 onto those of agent 1
        box.page.keyboard.press("ArrowLeft")
    for _ in range(8):
        box.page.keyboard.press("ArrowUp")
    assert goals.nth(0).get_attribute("data-reached") == "true"


def test_the_loop_moves_only_where_motion_is_welcome(shown):
    traces = {
        "stays": expected(0, Stay()),
        "knows everything": expected(0, FullInformation()),
    }
    explorer = turn_loop(traces, "Two agents, one apple.", steps=20)
    still = shown(explorer)
    assert still.get_attribute("data-playing") == "false"
    assert still.get_attribute("data-step") == "0"
    moving = shown(explorer, motion="no-preference")
    moving.page.wait_for_function(
        "document.querySelector('.cia-explorer').dataset.step > 1"
    )
    moving.get_by_role("button", name="pause").click()
    assert moving.get_attribute("data-playing") == "false"
    earned = explorer.data["teams"][1]["returns"]
    assert earned == [0, *traces["knows everything"].rewards[0, :20].cumsum(0).tolist()]


def loose() -> Explorer:
    """Two losses let loose from one start, a few hundred steps each."""
    start = torch.tensor([[[1.02, 1.0], [1.0, 1.0]]]).requires_grad_()
    paths = {}
    for name, loss in (("CIA", cia_loss), ("CC", cc_loss)):
        credits = start.detach().clone().requires_grad_()
        identities = torch.tensor([[0.3, 0.5], [0.6, 0.1]]).requires_grad_()
        xs, ws, losses = [], [], []
        for _ in range(300):
            value = loss(credits, identities)
            xs.append(credits.detach()[0].T)
            ws.append(identities.detach())
            losses.append(value.item())
            both = torch.autograd.grad(value, (credits, identities))
            credits = (credits - 0.3 * both[0]).detach().requires_grad_()
            identities = (identities - 0.3 * both[1]).detach().requires_grad_()
        paths[name] = torch.stack(xs), torch.stack(ws), losses
    return losses_let_loose(paths, frames=30)


def test_losses_let_loose_play_and_pause(shown):
    explorer = loose()
    still = shown(explorer)
    still.page.wait_for_timeout(800)
    assert still.get_attribute("data-step") == "0"  # motion is not welcome
    still.get_by_role("button", name="last step").click()
    last = explorer.data["panels"][0]["losses"][-1]
    assert f"after 299 steps: loss {last:.2f}" in still.inner_text()
    moving = shown(explorer, motion="no-preference")
    moving.page.wait_for_function(
        "document.querySelector('.cia-explorer').dataset.step > 1"
    )
    moving.get_by_role("button", name="pause").click()
    step = moving.get_attribute("data-step")
    moving.page.wait_for_timeout(800)
    assert moving.get_attribute("data-step") == step


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["play", "turn", "loop", "sandbox", "loose"])
def test_text_is_large_enough_and_nothing_is_wide(shown, kind, size):
    made = {
        "play": lambda: play_turn(LEVELS, boards=1),
        "turn": an_episode,
        "loop": lambda: turn_loop({"stays": expected(0, Stay())}, "A board.", 5),
        "sandbox": lambda: sandbox([[2.0, 1.6], [1.0, 2.4]], [[1.0, 0.0], [2.2, 0.6]]),
        "loose": loose,
    }
    box = shown(made[kind](), size)
    assert box.page.evaluate(SMALLEST) >= 9
    assert box.page.evaluate(TOO_WIDE) <= 0
    # only what is dragged keeps a swipe from scrolling the page
    holds = "[...document.querySelectorAll('*')].filter(" + (
        "each => getComputedStyle(each).touchAction === 'none').length"
    )
    assert box.page.evaluate(holds) == (1 if kind == "sandbox" else 0)
