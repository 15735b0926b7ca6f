"""The baseline of the speed figures: the structure of the published PyMARL-style loop.

It is written anew from a description. One game in Python; every step becomes a
dictionary that a store of tensors converts; online and target agents are unrolled with
a GRUCell step by step; evaluation games follow one another. tests/test_bench.py holds
the arithmetic to the recorded numbers. As in the published loop, acting and the target
pass record graphs that nobody differentiates, which costs about a tenth. No straw man:
everything else that is computed is needed.
"""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.distributions import Categorical

GAMMA = 0.99
CLIP = 10.0  # largest norm of the gradient
TARGET_INTERVAL = 200  # episodes between two copies of the target networks
EVALUATION_GAMES = 32
BUFFER = 5_000  # episodes
ALPHA = 0.02  # weight of the CIA loss


class Sizes(NamedTuple):
    """Sizes of the game and of the networks; the defaults are those of Turn."""

    n_agents: int = 2
    n_actions: int = 6
    observation: int = 18
    state: int = 77
    horizon: int = 100
    hidden: int = 64
    mixing: int = 32
    hypernetwork: int = 64


class PythonTurn:
    """One board of Turn (rules: ciacore/games/turn.py), stepped agent by agent."""

    SIZE = 5
    MOVES = ((-1, 0), (1, 0), (0, -1), (0, 1), (0, 0), (0, 0))
    EAT = 4
    STAY = 5

    def __init__(self, rng: np.random.RandomState, horizon: int = 100) -> None:
        self.rng = rng
        self.horizon = horizon
        self.reset()

    def reset(self) -> None:
        """A fresh board."""
        self.positions = [(0, 0), (self.SIZE - 1, self.SIZE - 1)]
        self.free = [1, 0]
        self.apple = self.new_apple()
        self.t = 0

    def new_apple(self) -> tuple[int, int]:
        """A random cell."""
        return self.rng.randint(self.SIZE), self.rng.randint(self.SIZE)

    def step(self, actions: Any) -> tuple[float, bool, dict]:
        """Plays one action per agent.

        Returns:
            The reward, whether the episode has ended, and an empty info: the time limit
            is reported as a plain end.
        """
        reward = 0.0
        eaten = False
        for agent, action in enumerate(actions):
            action = int(action)
            row, column = self.positions[agent]
            down, right = self.MOVES[action]
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
        """For each agent, two 3x3 maps around it: the other agent, and the apple."""
        first, second = self.positions
        observations = []
        for own, other in ((first, second), (second, first)):
            maps = np.zeros((2, 3, 3), dtype=np.float32)
            for seen, thing in zip(maps, (other, self.apple), strict=True):
                row = thing[0] - own[0] + 1
                column = thing[1] - own[1] + 1
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
        K, A = sizes.n_agents, sizes.n_actions
        scheme = {
            "state": ((sizes.state,), torch.float32),
            "obs": ((K, sizes.observation), torch.float32),
            "actions": ((K, 1), torch.int64),
            "avail_actions": ((K, A), torch.int32),
            "reward": ((1,), torch.float32),
            "terminated": ((1,), torch.uint8),
            "actions_onehot": ((K, A), torch.float32),
            "filled": ((1,), torch.int64),
        }
        super().__init__()
        slots = (n_episodes, sizes.horizon + 1)
        for name, (shape, dtype) in scheme.items():
            self[name] = torch.zeros(*slots, *shape, dtype=dtype)

    def write(self, t: int, values: dict[str, Any], mark_filled: bool = True) -> None:
        """Converts one step's values and writes them to slot t of every episode.

        Args:
            t: The slot, 0 to T.
            values: By name; actions are also kept as one-hot vectors.
            mark_filled: Whether the slot now counts as a step.
        """
        if mark_filled:
            self["filled"][:, t] = 1
        for name, value in values.items():
            target = self[name][:, t]
            if not torch.is_tensor(value):
                value = torch.from_numpy(np.asarray(value))
            target.copy_(value.view_as(target))
            if name == "actions":
                self["actions_onehot"][:, t].zero_().scatter_(-1, target, 1.0)


class Replay:
    """A ring of episodes."""

    def __init__(self, sizes: Sizes, capacity: int, rng: np.random.RandomState) -> None:
        self.store = EpisodeStore(sizes, capacity)
        self.capacity = capacity
        self.rng = rng
        self.index = 0
        self.count = 0

    def insert(self, episode: EpisodeStore) -> None:
        """Keeps one episode, in place of the oldest if the ring is full."""
        for name, value in episode.items():
            self.store[name][self.index] = value[0]
        self.index = (self.index + 1) % self.capacity
        self.count = min(self.count + 1, self.capacity)

    def sample(self, batch: int) -> dict[str, Tensor]:
        """`batch` different episodes, cut to the longest of them.

        Where there are no more than that, they come in order.
        """
        if self.count == batch:
            rows = slice(batch)
        else:
            rows = self.rng.choice(self.count, batch, replace=False)
        longest = int(self.store["filled"][rows].sum(1).max())
        return {name: value[rows][:, :longest] for name, value in self.store.items()}


class Controller(nn.Module):
    """The agents, B·K rows at once: Linear, ReLU, GRUCell, Linear.

    It builds their inputs and carries their memory.
    """

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.hidden = torch.zeros(0)
        inputs = sizes.observation + sizes.n_actions + sizes.n_agents
        self.fc_in = nn.Linear(inputs, sizes.hidden)
        self.gru = nn.GRUCell(sizes.hidden, sizes.hidden)
        self.fc_out = nn.Linear(sizes.hidden, sizes.n_actions)

    def init_hidden(self, batch: int) -> None:
        """The memory before the first step of `batch` episodes."""
        self.hidden = torch.zeros(batch * self.sizes.n_agents, self.sizes.hidden)

    def forward(self, store: dict[str, Tensor], t: int) -> Tensor:
        """Action values [B, K, A] at slot t.

        The inputs are the observation, the last action and the agent, both one-hot.

        Args:
            store: The episodes.
            t: The slot, 0 to T.
        """
        observations = store["obs"][:, t]
        one_hot = store["actions_onehot"]
        batch, n_agents, _ = observations.shape
        last = torch.zeros_like(one_hot[:, t]) if t == 0 else one_hot[:, t - 1]
        identity = torch.eye(n_agents).unsqueeze(0).expand(batch, -1, -1)
        parts = []
        for part in (observations, last, identity):
            parts.append(part.reshape(batch * n_agents, -1))
        x = F.relu(self.fc_in(torch.cat(parts, dim=1)))
        self.hidden = self.gru(x, self.hidden)
        return self.fc_out(self.hidden).view(batch, n_agents, -1)

    def unroll(self, store: dict[str, Tensor]) -> Tensor:
        """Action values [B, T+1, K, A] of whole episodes, one slot after the other."""
        self.init_hidden(len(store["obs"]))
        slots = store["obs"].shape[1]
        return torch.stack([self(store, t) for t in range(slots)], dim=1)

    def select_actions(
        self, store: dict[str, Tensor], t: int, epsilon: float
    ) -> Tensor:
        """Epsilon-greedy actions [B, K] at slot t; it records a graph, as published.

        Args:
            store: The episodes.
            t: The slot, 0 to T.
            epsilon: The probability that an agent explores; each decides on its own.
        """
        values = self(store, t).clone()
        available = store["avail_actions"][:, t]
        values[available == 0] = -float("inf")
        explores = (torch.rand(values.shape[:2]) < epsilon).long()
        drawn = Categorical(available.float()).sample()
        greedy = values.max(dim=2)[1]
        return explores * drawn + (1 - explores) * greedy


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
        """For M = B·T rows: W1 [M, K, E], ELU(z) [M, 1, E], W2 [M, E, 1].

        Args:
            utilities: Of the chosen actions, [B, T, K].
            states: [B, T, S].
        """
        n_agents = utilities.shape[-1]
        rows = states.reshape(-1, states.shape[-1])
        w1 = torch.abs(self.hyper_w1(rows)).view(len(rows), n_agents, -1)
        b1 = self.hyper_b1(rows).unsqueeze(1)
        z = torch.bmm(utilities.reshape(-1, 1, n_agents), w1) + b1
        w2 = torch.abs(self.hyper_w2(rows)).unsqueeze(2)
        return w1, F.elu(z), w2

    def forward(self, utilities: Tensor, states: Tensor) -> Tensor:
        """Q_tot [B, T, 1].

        Args:
            utilities: Of the chosen actions, [B, T, K].
            states: [B, T, S].
        """
        _, hidden, w2 = self.layers(utilities, states)
        return torch.bmm(hidden, w2).view(*utilities.shape[:2], 1) + self.value(states)

    def get_grad(self, utilities: Tensor, states: Tensor) -> Tensor:
        """Credits [B, T, K] by the published closed form, with its slip.

        The slope for z < 0 is exp(ELU(z)) there.

        Args:
            utilities: Of the chosen actions, [B, T, K].
            states: [B, T, S].
        """
        w1, hidden, w2 = self.layers(utilities, states)
        slope = torch.exp(torch.clamp(hidden, max=0.0))
        return torch.bmm(w1, slope.transpose(1, 2) * w2).view_as(utilities)


class Learner:
    """Double Q-learning of the joint value; with the CIA loss if `alpha` is given."""

    def __init__(
        self, controller: Controller, mixer: QMixer, alpha: float | None
    ) -> None:
        self.controller = controller
        self.mixer = mixer
        self.alpha = alpha
        self.copied_at = 0
        self.target_controller = copy.deepcopy(controller)
        self.target_mixer = copy.deepcopy(mixer)
        self.identity = None
        self.parameters = [*controller.parameters(), *mixer.parameters()]
        if alpha is not None:
            sizes = controller.sizes
            self.identity = nn.Linear(sizes.horizon, sizes.n_agents)
            self.parameters += self.identity.parameters()
        self.optimizer = torch.optim.RMSprop(
            self.parameters, lr=5e-4, alpha=0.99, eps=1e-5
        )

    def train(self, batch: dict[str, Tensor], episode: int) -> dict[str, Tensor]:
        """One gradient step; then the target copy, if it is due.

        Args:
            batch: What the replay gives.
            episode: How many episodes were played before this one.
        """
        mask = batch["filled"][:, :-1].float()
        states = batch["state"][:, :-1]
        mask[:, 1:] = mask[:, 1:] * (1 - batch["terminated"][:, :-2].float())
        values = self.controller.unroll(batch)
        actions = batch["actions"][:, :-1]
        chosen = torch.gather(values[:, :-1], dim=3, index=actions).squeeze(3)
        q_tot = self.mixer(chosen, states)
        error = (q_tot - self.targets(batch, values).detach()) * mask
        losses = {"td_loss": (error**2).sum() / mask.sum()}
        losses["loss"] = losses["td_loss"]
        if self.identity is not None:
            credits = self.mixer.get_grad(chosen.detach(), states)
            losses["cl_loss"] = self.contrastive_loss(credits)
            losses["loss"] = losses["td_loss"] + self.alpha * losses["cl_loss"]
        self.optimizer.zero_grad()
        losses["loss"].backward()
        losses["grad_norm"] = nn.utils.clip_grad_norm_(self.parameters, CLIP)
        self.optimizer.step()
        if episode - self.copied_at >= TARGET_INTERVAL:
            self.target_controller.load_state_dict(self.controller.state_dict())
            self.target_mixer.load_state_dict(self.mixer.state_dict())
            self.copied_at = episode
        return {name: value.detach() for name, value in losses.items()}

    def targets(self, batch: dict[str, Tensor], values: Tensor) -> Tensor:
        """y = r + 0.99 (1 - terminated) · Q_tot of the next step, [B, T, 1].

        That is the target networks' value of the online agents' greedy actions.

        Args:
            batch: What the replay gives.
            values: The online agents' action values, [B, T+1, K, A].
        """
        online = values[:, 1:].clone().detach()
        online[batch["avail_actions"][:, 1:] == 0] = -9_999_999.0
        greedy = online.max(dim=3, keepdim=True)[1]
        target_values = self.target_controller.unroll(batch)[:, 1:]
        following = torch.gather(target_values, dim=3, index=greedy).squeeze(3)
        following = self.target_mixer(following, batch["state"][:, 1:])
        goes_on = 1 - batch["terminated"][:, :-1].float()
        return batch["reward"][:, :-1] + GAMMA * goes_on * following

    def contrastive_loss(self, credits: Tensor) -> Tensor:
        """Which agent's credits [B, T, K], padded with zeros, belong to identity k?

        It is the cross entropy over the columns.
        """
        batch, steps, n_agents = credits.shape
        padding = credits.new_zeros(batch, n_agents, self.identity.in_features - steps)
        padded = torch.cat([credits.transpose(1, 2), padding], dim=2)
        similarities = self.identity(padded)  # [B, agent, identity]
        rows = similarities.transpose(1, 2).reshape(-1, n_agents)
        return F.cross_entropy(rows, torch.arange(n_agents).repeat(batch))


class Published:
    """QMIX or QMIX(CIA): one game, one gradient step per episode; Turn by default."""

    def __init__(
        self,
        seed: int,
        cia: bool,
        horizon: int = 100,
        batch: int = 32,
        game: Any = None,
        sizes: Sizes | None = None,
        buffer: int = BUFFER,
    ) -> None:
        # as published, torch's global generator initialises and explores
        torch.manual_seed(seed)
        rng = np.random.RandomState(seed)  # apples and samples share a stream
        self.sizes = sizes or Sizes(horizon=horizon)
        self.batch = batch
        self.env_steps = 0
        self.episodes = 0
        self.game = game or PythonTurn(rng, horizon)
        self.replay = Replay(self.sizes, buffer, rng)
        controller = Controller(self.sizes)
        mixer = QMixer(self.sizes)
        self.learner = Learner(controller, mixer, ALPHA if cia else None)

    def play(self, epsilon: float) -> tuple[EpisodeStore, float]:
        """One episode, step by step, and its return."""
        controller = self.learner.controller
        store = EpisodeStore(self.sizes, 1)
        t = 0
        total = 0.0
        ended = False
        self.game.reset()
        controller.init_hidden(1)
        while not ended:
            store.write(t, self.observed())
            actions = controller.select_actions(store, t, epsilon)
            reward, ended, info = self.game.step(actions[0])
            terminated = ended != info.get("episode_limit", False)
            step = {"actions": actions, "reward": [reward], "terminated": [terminated]}
            store.write(t, step, mark_filled=False)
            total += reward
            t += 1
        store.write(t, self.observed())
        last = {"actions": controller.select_actions(store, t, epsilon)}
        store.write(t, last, mark_filled=False)
        return store, total

    def observed(self) -> dict[str, Any]:
        """What the store needs before a step."""
        available = []
        for agent in range(self.sizes.n_agents):
            available.append(self.game.get_avail_agent_actions(agent))
        return {
            "state": self.game.get_state(),
            "avail_actions": available,
            "obs": self.game.get_obs(),
        }

    def rollout(self) -> float:
        """Plays one training episode and keeps it; returns its return."""
        store, total = self.play(max(0.05, 1.0 - 0.95 * self.env_steps / 50_000))
        self.replay.insert(store)
        self.env_steps += int(store["filled"].sum()) - 1
        self.episodes += 1
        return total

    def update(self) -> dict[str, Tensor]:
        """Samples a batch and learns from it."""
        return self.learner.train(self.replay.sample(self.batch), self.episodes - 1)

    def evaluate(self) -> list[float]:
        """The returns of 32 greedy episodes, played one after the other."""
        return [self.play(epsilon=0.0)[1] for _ in range(EVALUATION_GAMES)]

    def iteration(self) -> None:
        """One episode and, once the replay can fill a batch, one update.

        Evaluations are left to the caller.
        """
        self.rollout()
        if self.replay.count >= self.batch:
            self.update()
