"""Networks and policies as pure functions in JAX.

Each is the equation of the torch module that it stands for. JAX is loaded when the
first is called, by a game that runs in it.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import nn

from ciacore.fast.whole_episodes import PureNetwork, PurePolicy, pure, register, tensors
from ciacore.types import Spec


class PlayerMemory(NamedTuple):
    """What an agent carries from step to step."""

    hidden: Any  # [N, K, H]
    last_actions: Any  # [N, K, A] one-hot, zeros at the start
    context: Any  # [N, Z]


def recurrent_agent(agent: Any, spec: Spec) -> PureNetwork | None:
    """The pure form of `ciacore.learning.agent.RecurrentAgent`.

    Args:
        agent: the agent.
        spec: the sizes of the game.
    """
    head = pure(agent.fc_out, spec)
    if head is None:
        return None
    gru = agent.gru
    weights = {
        "w_in": agent.fc_in.weight.detach(),
        "b_in": agent.fc_in.bias.detach(),
        "w": gru.weight_ih_l0.detach(),
        "u": gru.weight_hh_l0.detach(),
        "b": gru.bias_ih_l0.detach(),
        "c": gru.bias_hh_l0.detach(),
        "head": head.weights,
    }

    def step(w: Any, observations: Any, memory: PlayerMemory) -> tuple[Any, Any]:
        """Action values [N, K, A] and the next hidden states [N, K, H]."""
        import jax
        import jax.numpy as jnp

        seen = jnp.concatenate([observations, memory.last_actions], -1)
        # The one-hot identity picks one row of the first layer: a bias of each agent.
        w_seen, w_identity = jnp.split(w["w_in"].T, [seen.shape[-1]])
        x = jax.nn.relu(seen @ w_seen + w_identity + w["b_in"])
        of_x = x @ w["w"].T + w["b"]
        of_h = memory.hidden @ w["u"].T + w["c"]
        r_of_x, z_of_x, n_of_x = jnp.split(of_x, 3, -1)
        r_of_h, z_of_h, n_of_h = jnp.split(of_h, 3, -1)
        r, z = jax.nn.sigmoid(r_of_x + r_of_h), jax.nn.sigmoid(z_of_x + z_of_h)
        n = jnp.tanh(n_of_x + r * n_of_h)
        hidden = n + z * (memory.hidden - n)
        return head.function(w["head"], hidden, memory.context), hidden

    return PureNetwork(("recurrent", agent.hidden_size, head.key), weights, step)


def linear(layer: nn.Linear, spec: Spec) -> PureNetwork:
    """The pure form of a head that is one linear layer: W h + b.

    Args:
        layer: the head.
        spec: the sizes of the game.
    """

    def values(w: Any, hidden: Any, context: Any) -> Any:
        return hidden @ w["weight"].T + w["bias"]

    return PureNetwork("linear", tensors(layer), values)


def perceptron(network: nn.Sequential, spec: Spec) -> PureNetwork:
    """The pure form of `ciacore.networks.mlp`: a ReLU between each two layers.

    Args:
        network: linear layers, a ReLU between each two.
        spec: the sizes of the game.
    """
    layers = [tensors(layer) for layer in network[::2]]

    def outputs(w: Any, x: Any) -> Any:
        import jax

        for number, layer in enumerate(w):
            x = (jax.nn.relu(x) if number else x) @ layer["weight"].T + layer["bias"]
        return x

    return PureNetwork(("perceptron", len(layers)), layers, outputs)


def epsilon_greedy(policy: Any, spec: Spec) -> PurePolicy | None:
    """The pure form of `ciacore.learning.exploration.EpsilonGreedy`.

    Args:
        policy: an agent and its epsilon.
        spec: the sizes of the game.
    """
    agent = pure(policy.agent, spec)
    if agent is None:
        return None
    explores = policy.epsilon > 0
    hidden_size = policy.agent.hidden_size
    K, A = spec.n_agents, spec.n_actions

    def start(w: Any, draws: Any, observations: Any, states: Any) -> PlayerMemory:
        import jax.numpy as jnp

        n_games = len(observations)
        hidden = jnp.zeros((n_games, K, hidden_size))
        last_actions = jnp.zeros((n_games, K, A))
        return PlayerMemory(hidden, last_actions, jnp.zeros((n_games, 0)))

    def act(
        w: Any, draws: Any, observations: Any, available: Any, memory: PlayerMemory
    ) -> tuple[Any, PlayerMemory]:
        import jax
        import jax.numpy as jnp

        values, hidden = agent.function(w["agent"], observations, memory)
        if explores:
            drawn = draws.reshape(*values.shape[:2], A + 1)
            noise, explore = drawn[..., :-1], drawn[..., -1:] < w["epsilon"]
            values = jnp.where(explore, noise, values)
        actions = jnp.where(available, values, -jnp.inf).argmax(-1)
        last_actions = jax.nn.one_hot(actions, A)
        return actions, PlayerMemory(hidden, last_actions, memory.context)

    return PurePolicy(
        key=("epsilon_greedy", explores, agent.key),
        start=start,
        act=act,
        context=lambda memory: memory.context,
        weights={"agent": agent.weights, "epsilon": float(policy.epsilon)},
        first_draws=0,
        step_draws=K * (A + 1) if explores else 0,
    )


def latent_head(head: Any, spec: Spec) -> PureNetwork:
    """The pure form of MAVEN's `LatentHead`: W(z, k) h.

    Args:
        head: the head.
        spec: the sizes of the game.
    """
    shape = head.shape  # (A, H)

    def values(w: Any, hidden: Any, context: Any) -> Any:
        import jax.numpy as jnp

        of_latent, of_agent = jnp.split(w["weight"].T, [context.shape[-1]])
        of_each = (context @ of_latent)[:, None] + of_agent + w["bias"]
        of_each = of_each.reshape(*hidden.shape[:2], *shape)  # [N, K, A, H]
        return jnp.einsum("nkah,nkh->nka", of_each, hidden)

    return PureNetwork(("latent head", shape), tensors(head.noise_head), values)


def following_a_latent(policy: Any, spec: Spec) -> PurePolicy | None:
    """The pure form of MAVEN's `FollowingALatent`.

    Args:
        policy: the policy beneath, and the network of the latents' logits.
        spec: the sizes of the game.
    """
    base, logits = pure(policy.base, spec), pure(policy.logits, spec)
    if base is None or logits is None:
        return None
    n_latents = policy.logits[-1].out_features

    def start(w: Any, draws: Any, observations: Any, states: Any) -> PlayerMemory:
        import jax
        import jax.numpy as jnp

        drawn = draws.reshape(len(states), n_latents)
        gumbel = -jnp.log(-jnp.log(drawn + 1e-20) + 1e-20)
        memory = base.start(w["base"], draws, observations, states)
        keys = logits.function(w["logits"], states) + gumbel
        context = jax.nn.one_hot(keys.argmax(-1), n_latents)
        return memory._replace(context=context)

    def act(
        w: Any, draws: Any, observations: Any, available: Any, memory: PlayerMemory
    ) -> tuple[Any, PlayerMemory]:
        return base.act(w["base"], draws, observations, available, memory)

    return base._replace(
        key=("following a latent", base.key, logits.key),
        start=start,
        act=act,
        weights={"base": base.weights, "logits": logits.weights},
        first_draws=n_latents,
    )


class IntrinsicMemory(NamedTuple):
    """What EOI's policy carries from step to step."""

    memory: PlayerMemory
    games: Any  # bool [N], the episodes that explore


def intrinsic_policy(policy: Any, spec: Spec) -> PurePolicy | None:
    """The pure form of EOI's `IntrinsicPolicy`.

    Args:
        policy: the policy beneath, the intrinsic values, and when they are followed.
        spec: the sizes of the game.
    """
    base, values = pure(policy.base, spec), pure(policy.values.network, spec)
    if base is None or values is None:
        return None
    K, A = spec.n_agents, spec.n_actions

    def start(w: Any, draws: Any, observations: Any, states: Any) -> IntrinsicMemory:
        memory = base.start(w["base"], draws, observations, states)
        return IntrinsicMemory(memory, draws < w["episode_ratio"])

    def act(
        w: Any, draws: Any, observations: Any, available: Any, memory: IntrinsicMemory
    ) -> tuple[Any, IntrinsicMemory]:
        import jax
        import jax.numpy as jnp

        n_games = len(observations)
        of_base, of_games, keys = jnp.split(
            draws, [n_games * base.step_draws, n_games * (base.step_draws + 1)]
        )
        actions, after = base.act(
            w["base"], of_base, observations, available, memory.memory
        )
        now = memory.games & (of_games < w["explore_ratio"])
        keys = keys.reshape(n_games, K)
        has_largest_key = keys == keys.max(-1, keepdims=True)
        identities = jnp.broadcast_to(jnp.eye(K), (n_games, K, K))
        inputs = jnp.concatenate([observations, identities], -1)
        intrinsic = values.function(w["values"], inputs)
        best = jnp.where(available, intrinsic, -jnp.inf).argmax(-1)
        actions = jnp.where(now[:, None] & has_largest_key, best, actions)
        after = after._replace(last_actions=jax.nn.one_hot(actions, A))
        return actions, IntrinsicMemory(after, memory.games)

    return PurePolicy(
        key=("intrinsic", base.key, values.key),
        start=start,
        act=act,
        context=lambda memory: memory.memory.context,
        weights={
            "base": base.weights,
            "values": values.weights,
            "episode_ratio": policy.episode_ratio,
            "explore_ratio": policy.explore_ratio,
        },
        first_draws=1,
        step_draws=base.step_draws + 1 + K,
    )


register(nn.Sequential, perceptron)
