"""The baseline of the speed figures: the structure of the published PyMARL-style loop, written anew from a description.

One game in Python; every step becomes a dictionary that a store of tensors converts;
online and target agents are unrolled with a GRUCell step by step; evaluation games
follow one another. tests/test_bench.py holds the arithmetic to the recorded numbers. As
in the published loop, acting and the target pass record graphs that nobody
differentiates, which costs about a tenth. No straw man: everything else that is
computed is needed.
"""

from __future__ import annotations

import copy
from collections import namedtuple
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Categorical

GAMMA, CLIP, TARGET_INTERVAL, EVALUATION_GAMES, BUFFER, ALPHA = (
    0.99,
    10.0,
    200,
    32,
    5_000,
    0.02,
)

# K, A, O, S, N, widths of networks
FIELDS = "n_agents n_actions observation state horizon hidden mixing hypernetwork"
# defaults: Turn
Sizes = namedtuple("Sizes", FIELDS, defaults=(2, 6, 18, 77, 100, 64, 32, 64))


class PythonTurn:
    """One board of Turn (rules: ciacore/games/turn.py), stepped as such environments are: agent by agent, in Python."""

    SIZE = 5
    MOVES, EAT, STAY = ((-1, 0), (1, 0), (0, -1), (0, 1), (0, 0), (0, 0)), 4, 5

    def __init__(self, rng: np.random.RandomState, horizon: int = 100) -> None:
        self.rng, self.horizon = rng, horizon
        self.reset()

    def reset(self) -> None:
        """A fresh board."""
        self.positions, self.free = [(0, 0), (self.SIZE - 1, self.SIZE - 1)], [1, 0]
        self.apple, self.t = self.new_apple(), 0

    def new_apple(self) -> tuple[int, int]:
        return self.rng.randint(self.SIZE), self.rng.randint(self.SIZE)

    def step(self, actions: Any) -> tuple[float, bool, dict]:
        """Plays one action per agent; the time limit is reported as a plain end, with an empty info."""
        reward, eaten = 0.0, False
        for agent, action in enumerate(int(action) for action in actions):
            (row, column), (down, right) = self.positions[agent], self.MOVES[action]
            if not self.free[agent]:
                reward -= action != self.STAY
            elif action == self.EAT:
                eaten = (row, column) == self.apple
                reward += 10 * eaten
            elif 0 <= row + down < self.SIZE and 0 <= column + right < self.SIZE:
                self.positions[agent] = (row + down, column + right)
            else:
                reward -= 1
        if eaten:
            self.free.reverse()
            self.apple = self.new_apple()
        self.t += 1
        return reward, self.t >= self.horizon, {}

    def get_obs(self) -> list[np.ndarray]:
        """For each agent, a 3x3 map around it that shows the other one, then one that shows the apple."""
        observations = []
        for own, other in (self.positions, self.positions[::-1]):
            maps = np.zeros((2, 3, 3), dtype=np.float32)
            for seen, thing in zip(maps, (other, self.apple), strict=True):
                row, column = thing[0] - own[0] + 1, thing[1] - own[1] + 1
                if 0 <= row < 3 and 0 <= column < 3:
                    seen[row, column] = 1
            observations.append(maps.flatten())
        return observations

    def get_state(self) -> np.ndarray:
        """A map for the apple and for each agent, and who is free."""
        maps = np.zeros((3, self.SIZE, self.SIZE), dtype=np.float32)
        for board, cell in zip(maps, (self.apple, *self.positions), strict=True):
            board[cell] = 1
        return np.append(maps, np.array(self.free, dtype=np.float32))

    def get_avail_agent_actions(self, agent: int) -> list[int]:
        """All of them, always."""
        return [1] * len(self.MOVES)


class EpisodeStore(dict[str, Tensor]):
    """Tensors [B, T+1, ...] that are written step by step."""

    def __init__(self, sizes: Sizes, n_episodes: int) -> None:
        K, A, slots = sizes.n_agents, sizes.n_actions, (n_episodes, sizes.horizon + 1)
        scheme = {
            "state": ((sizes.state,), torch.float32),
            "obs": ((K, sizes.observation), torch.float32),
        }
        scheme |= {
            "actions": ((K, 1), torch.int64),
            "avail_actions": ((K, A), torch.int32),
        }
        scheme |= {"reward": ((1,), torch.float32), "terminated": ((1,), torch.uint8)}
        scheme |= {
            "actions_onehot": ((K, A), torch.float32),
            "filled": ((1,), torch.int64),
        }
        super().__init__(
            {
                name: torch.zeros(*slots, *shape, dtype=dtype)
                for name, (shape, dtype) in scheme.items()
            }
        )

    def write(self, t: int, values: dict[str, Any], mark_filled: bool = True) -> None:
        """Converts one step's values and writes them to slot t of every episode; actions also as one-hot."""
        if mark_filled:
            self["filled"][:, t] = 1
        for name, value in values.items():
            target = self[name][:, t]
            value = (
                value if torch.is_tensor(value) else torch.from_numpy(np.asarray(value))
            )
            target.copy_(value.view_as(target))
            if name == "actions":
                self["actions_onehot"][:, t].zero_().scatter_(-1, target, 1.0)


class Replay:
    """A ring of episodes."""

    def __init__(self, sizes: Sizes, capacity: int, rng: np.random.RandomState) -> None:
        self.store, self.capacity, self.rng = (
            EpisodeStore(sizes, capacity),
            capacity,
            rng,
        )
        self.index = self.count = 0

    def insert(self, episode: EpisodeStore) -> None:
        """Keeps one episode, in place of the oldest if the ring is full."""
        for name, value in episode.items():
            self.store[name][self.index] = value[0]
        self.index, self.count = (
            (self.index + 1) % self.capacity,
            min(self.count + 1, self.capacity),
        )

    def sample(self, batch: int) -> dict[str, Tensor]:
        """`batch` different episodes, cut to the longest of them; all in order where there are no more."""
        rows = (
            slice(batch)
            if self.count == batch
            else self.rng.choice(self.count, batch, replace=False)
        )
        longest = int(self.store["filled"][rows].sum(1).max())
        return {name: value[rows][:, :longest] for name, value in self.store.items()}


class Controller(nn.Module):
    """The agents, B·K rows at once: Linear, ReLU, GRUCell, Linear; builds their inputs and carries their memory."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes, self.hidden = sizes, torch.zeros(0)
        self.fc_in = nn.Linear(
            sizes.observation + sizes.n_actions + sizes.n_agents, sizes.hidden
        )
        self.gru = nn.GRUCell(sizes.hidden, sizes.hidden)
        self.fc_out = nn.Linear(sizes.hidden, sizes.n_actions)

    def init_hidden(self, batch: int) -> None:
        self.hidden = torch.zeros(batch * self.sizes.n_agents, self.sizes.hidden)

    def forward(self, store: dict[str, Tensor], t: int) -> Tensor:
        """Action values [B, K, A] at slot t, from [observation, one-hot of the last action, one-hot agent]."""
        observations, one_hot = store["obs"][:, t], store["actions_onehot"]
        batch, n_agents, _ = observations.shape
        last = torch.zeros_like(one_hot[:, t]) if t == 0 else one_hot[:, t - 1]
        identity = torch.eye(n_agents).unsqueeze(0).expand(batch, -1, -1)
        parts = [
            part.reshape(batch * n_agents, -1)
            for part in (observations, last, identity)
        ]
        self.hidden = self.gru(F.relu(self.fc_in(torch.cat(parts, dim=1))), self.hidden)
        return self.fc_out(self.hidden).view(batch, n_agents, -1)

    def unroll(self, store: dict[str, Tensor]) -> Tensor:
        """Action values [B, T+1, K, A] of whole episodes, one slot after the other."""
        self.init_hidden(len(store["obs"]))
        return torch.stack(
            [self(store, t) for t in range(store["obs"].shape[1])], dim=1
        )

    def select_actions(
        self, store: dict[str, Tensor], t: int, epsilon: float
    ) -> Tensor:
        """Epsilon-greedy actions [B, K] at slot t; every agent explores on its own. Records a graph, as published."""
        values, available = self(store, t).clone(), store["avail_actions"][:, t]
        values[available == 0] = -float("inf")
        explores = (torch.rand(values.shape[:2]) < epsilon).long()
        return (
            explores * Categorical(available.float()).sample()
            + (1 - explores) * values.max(dim=2)[1]
        )


class QMixer(nn.Module):
    """QMIX by batched matrix products."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        S, E, H = sizes.state, sizes.mixing, sizes.hypernetwork
        self.hyper_w1 = nn.Sequential(
            nn.Linear(S, H), nn.ReLU(), nn.Linear(H, sizes.n_agents * E)
        )
        self.hyper_b1 = nn.Linear(S, E)
        self.hyper_w2 = nn.Sequential(nn.Linear(S, H), nn.ReLU(), nn.Linear(H, E))
        self.value = nn.Sequential(nn.Linear(S, E), nn.ReLU(), nn.Linear(E, 1))

    def layers(
        self, utilities: Tensor, states: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """For M = B·T rows: W1 [M, K, E], ELU(z) [M, 1, E], W2 [M, E, 1]."""
        n_agents, rows = utilities.shape[-1], states.reshape(-1, states.shape[-1])
        w1 = torch.abs(self.hyper_w1(rows)).view(len(rows), n_agents, -1)
        z = torch.bmm(utilities.reshape(-1, 1, n_agents), w1) + self.hyper_b1(
            rows
        ).unsqueeze(1)
        return w1, F.elu(z), torch.abs(self.hyper_w2(rows)).unsqueeze(2)

    def forward(self, utilities: Tensor, states: Tensor) -> Tensor:
        """Q_tot [B, T, 1]."""
        _, hidden, w2 = self.layers(utilities, states)
        return torch.bmm(hidden, w2).view(*utilities.shape[:2], 1) + self.value(states)

    def get_grad(self, utilities: Tensor, states: Tensor) -> Tensor:
        """Credits [B, T, K] by the published closed form: the slope for z < 0 is exp(ELU(z)), with its slip."""
        w1, hidden, w2 = self.layers(utilities, states)
        slope = torch.exp(torch.clamp(hidden, max=0.0))
        return torch.bmm(w1, slope.transpose(1, 2) * w2).view_as(utilities)


class Learner:
    """Double Q-learning of the joint value, with or without (`alpha` None) the CIA loss."""

    def __init__(
        self, controller: Controller, mixer: QMixer, alpha: float | None
    ) -> None:
        self.controller, self.mixer, self.alpha, self.copied_at = (
            controller,
            mixer,
            alpha,
            0,
        )
        self.target_controller, self.target_mixer = (
            copy.deepcopy(controller),
            copy.deepcopy(mixer),
        )
        self.identity = (
            None
            if alpha is None
            else nn.Linear(controller.sizes.horizon, controller.sizes.n_agents)
        )
        self.parameters = list(
            nn.ModuleList([controller, mixer, self.identity]).parameters()
        )
        self.optimizer = torch.optim.RMSprop(
            self.parameters, lr=5e-4, alpha=0.99, eps=1e-5
        )

    def train(self, batch: dict[str, Tensor], episode: int) -> dict[str, Tensor]:
        """One gradient step; then the target copy, if it is due."""
        mask, states = batch["filled"][:, :-1].float(), batch["state"][:, :-1]
        mask[:, 1:] = mask[:, 1:] * (1 - batch["terminated"][:, :-2].float())
        values = self.controller.unroll(batch)
        chosen = torch.gather(
            values[:, :-1], dim=3, index=batch["actions"][:, :-1]
        ).squeeze(3)
        error = (
            self.mixer(chosen, states) - self.targets(batch, values).detach()
        ) * mask
        loss = td_loss = (error**2).sum() / mask.sum()
        losses = {"td_loss": td_loss}
        if self.identity is not None:
            losses["cl_loss"] = self.contrastive_loss(
                self.mixer.get_grad(chosen.detach(), states)
            )
            loss = td_loss + self.alpha * losses["cl_loss"]
        self.optimizer.zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.parameters, CLIP)
        self.optimizer.step()
        if episode - self.copied_at >= TARGET_INTERVAL:
            self.target_controller.load_state_dict(self.controller.state_dict())
            self.target_mixer.load_state_dict(self.mixer.state_dict())
            self.copied_at = episode
        return {
            name: value.detach()
            for name, value in {**losses, "loss": loss, "grad_norm": norm}.items()
        }

    def targets(self, batch: dict[str, Tensor], values: Tensor) -> Tensor:
        """y = r + 0.99 (1 - terminated) · the target networks' value of the online agents' greedy actions."""
        online = values[:, 1:].clone().detach()
        online[batch["avail_actions"][:, 1:] == 0] = -9_999_999.0
        greedy = online.max(dim=3, keepdim=True)[1]
        following = torch.gather(
            self.target_controller.unroll(batch)[:, 1:], dim=3, index=greedy
        ).squeeze(3)
        following = self.target_mixer(following, batch["state"][:, 1:])
        return (
            batch["reward"][:, :-1]
            + GAMMA * (1 - batch["terminated"][:, :-1].float()) * following
        )

    def contrastive_loss(self, credits: Tensor) -> Tensor:
        """Cross entropy over the columns: which agent's credits, padded with zeros, belong to identity k?"""
        batch, steps, n_agents = credits.shape
        padding = credits.new_zeros(batch, n_agents, self.identity.in_features - steps)
        # [B, agent, identity]
        similarities = self.identity(
            torch.cat([credits.transpose(1, 2), padding], dim=2)
        )
        rows = similarities.transpose(1, 2).reshape(-1, n_agents)
        return F.cross_entropy(rows, torch.arange(n_agents).repeat(batch))


class Published:
    """QMIX or QMIX(CIA) on Turn: one game, one gradient step per episode."""

    def __init__(
        self, seed: int, cia: bool, horizon: int = 100, batch: int = 32
    ) -> None:
        # as published, torch's global generator initialises and explores
        torch.manual_seed(seed)
        rng = np.random.RandomState(seed)  # apples and samples share a stream
        self.sizes, self.batch, self.env_steps, self.episodes = (
            Sizes(horizon=horizon),
            batch,
            0,
            0,
        )
        self.game, self.replay = (
            PythonTurn(rng, horizon),
            Replay(self.sizes, BUFFER, rng),
        )
        self.learner = Learner(
            Controller(self.sizes), QMixer(self.sizes), ALPHA if cia else None
        )

    def play(self, epsilon: float) -> tuple[EpisodeStore, float]:
        """One episode, step by step, and its return."""
        controller, store, t, total, ended = (
            self.learner.controller,
            EpisodeStore(self.sizes, 1),
            0,
            0.0,
            False,
        )
        self.game.reset()
        controller.init_hidden(1)
        while not ended:
            store.write(t, self.observed())
            actions = controller.select_actions(store, t, epsilon)
            reward, ended, info = self.game.step(actions[0])
            terminated = ended != info.get("episode_limit", False)
            store.write(
                t,
                {"actions": actions, "reward": [reward], "terminated": [terminated]},
                mark_filled=False,
            )
            total, t = total + reward, t + 1
        store.write(t, self.observed())
        store.write(
            t,
            {"actions": controller.select_actions(store, t, epsilon)},
            mark_filled=False,
        )
        return store, total

    def observed(self) -> dict[str, Any]:
        """What the store needs before a step."""
        available = [
            self.game.get_avail_agent_actions(agent)
            for agent in range(self.sizes.n_agents)
        ]
        return {
            "state": self.game.get_state(),
            "avail_actions": available,
            "obs": self.game.get_obs(),
        }

    def rollout(self) -> float:
        """Plays one training episode and keeps it; returns its return."""
        store, total = self.play(max(0.05, 1.0 - 0.95 * self.env_steps / 50_000))
        self.replay.insert(store)
        self.env_steps, self.episodes = (
            self.env_steps + self.sizes.horizon,
            self.episodes + 1,
        )
        return total

    def update(self) -> dict[str, Tensor]:
        """Samples a batch and learns from it."""
        return self.learner.train(self.replay.sample(self.batch), self.episodes - 1)

    def evaluate(self) -> list[float]:
        """The returns of 32 greedy episodes, played one after the other."""
        return [self.play(epsilon=0.0)[1] for _ in range(EVALUATION_GAMES)]

    def iteration(self) -> None:
        """One episode and, once the replay can fill a batch, one update; evaluations are left to the caller."""
        self.rollout()
        if self.replay.count >= self.batch:
            self.update()
