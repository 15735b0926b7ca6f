"""The replay: a ring of whole episodes, stored compactly where learning happens."""

from __future__ import annotations

import torch
from torch import Tensor

from ciacore.fast.arrays import uniform
from ciacore.types import SLOT_FIELDS, STEP_FIELDS, Episodes, Generator, refuse


class Replay:
    """Keeps the last `capacity` episodes; batches are drawn without replacement.

    The ring is as long as the longest episode so far: shorter ones are padded, a longer
    one makes room for all. Nothing here waits for the device: where to insert and what
    may be sampled follow from `inserted`, a tensor.
    """

    def __init__(self, capacity: int, device: torch.device | str = "cpu") -> None:
        """An empty ring.

        Args:
            capacity: episodes kept.
            device: where they lie.
        """
        self.capacity = capacity
        self.inserted = torch.zeros((), dtype=torch.int64, device=device)  # ever
        self.slots = torch.arange(capacity, device=device)
        self.ring: Episodes | None = (
            None  # [capacity, ...], made at the first insertion
        )

    def __len__(self) -> int:
        return min(int(self.inserted), self.capacity)

    def insert(self, episodes: Episodes) -> None:
        """Adds episodes; the oldest make room."""
        episodes = pack(episodes)
        if self.ring is None:
            empty = (grow(field[:0], self.capacity) for field in episodes)
            self.ring = Episodes(*empty)
        longest = max(steps_of(self.ring), steps_of(episodes))
        self.ring = pad_to(self.ring, longest)
        episodes = pad_to(episodes, longest)
        count = len(episodes.rewards)
        slots = self.places(count)
        for kept, field in zip(self.ring, episodes, strict=True):
            kept[slots] = field
        self.inserted += count

    def places(self, count: int) -> Tensor:
        """Where the next episodes are put.

        Args:
            count: how many.
        """
        return (self.inserted + self.slots[:count]) % self.capacity

    def sample(self, batch: int, rng: Generator) -> Episodes:
        """`batch` different episodes, all equally likely.

        Args:
            batch: how many; at least as many must be held.
            rng: draws the keys.

        Raises:
            InvalidInputError: nothing was inserted yet, or the ring is too small.
        """
        if self.ring is None or batch > self.capacity:
            held = 0 if self.ring is None else self.capacity
            cure = "Insert more episodes first."
            refuse("batch", f"at most {held} episodes", batch, cure)
        chosen = draw_slots(self.capacity, self.inserted, batch, rng)
        sample = Episodes(*(kept.index_select(0, chosen) for kept in self.ring))
        return sample._replace(actions=sample.actions.long())

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint keeps, by name."""
        held = {} if self.ring is None else self.ring._asdict()
        filled = {name: field[: len(self)] for name, field in held.items()}
        return {"inserted": self.inserted, **filled}

    def sealed(self) -> dict[str, dict[str, Tensor]]:
        """What does not change any more: nothing here."""
        return {}

    def load(
        self,
        tensors: dict[str, Tensor],
        sealed: dict[str, dict[str, Tensor]] | None = None,
    ) -> None:
        """Puts back what was held.

        Args:
            tensors: what `tensors` returned.
            sealed: what `sealed` returned: nothing.
        """
        self.inserted.copy_(tensors["inserted"])
        if "rewards" in tensors:
            fields = (tensors[name].to(self.slots.device) for name in Episodes._fields)
            self.ring = Episodes(*(grow(field, self.capacity) for field in fields))


def draw_slots(capacity: int, inserted: Tensor, batch: int, rng: Generator) -> Tensor:
    """The places of `batch` different episodes in a ring, all equally likely.

    Every place draws a random key; those with the smallest keys are taken.

    Args:
        capacity: places of the ring.
        inserted: how many episodes there ever were, a single number.
        batch: how many are drawn; as many places must be filled.
        rng: draws the keys.
    """
    keys = uniform(rng, (capacity,))
    empty = torch.arange(capacity, device=keys.device) >= inserted
    keys = keys.masked_fill(empty, 2.0)  # empty places last
    return keys.topk(batch, largest=False, sorted=False).indices


def steps_of(episodes: Episodes) -> int:
    """T, the number of steps that the records have room for."""
    return episodes.rewards.shape[1]


def grow(field: Tensor, rows: int) -> Tensor:
    """The same tensor with rows of zeros after its own.

    Args:
        field: [B, ...] with B at most `rows`.
        rows: of the result.
    """
    grown = field.new_zeros(rows, *field.shape[1:])
    grown[: len(field)] = field
    return grown


def pack(episodes: Episodes) -> Episodes:
    """The same episodes with the actions in one byte each, where they fit."""
    if episodes.available.shape[-1] > 256:
        return episodes
    return episodes._replace(actions=episodes.actions.to(torch.uint8))


def trim(episodes: Episodes) -> Episodes:
    """The same episodes without the steps that are padding in all of them.

    The published code cuts every batch there. Waits for the device.
    """
    steps = int(episodes.weights.sum(1).max())
    trimmed = {name: getattr(episodes, name)[:, : steps + 1] for name in SLOT_FIELDS}
    trimmed |= {name: getattr(episodes, name)[:, :steps] for name in STEP_FIELDS}
    return episodes._replace(**trimmed)


def pad_to(episodes: Episodes, steps: int) -> Episodes:
    """The same episodes with padding up to a number of steps.

    Args:
        episodes: at most as long.
        steps: T of the result.
    """
    more = steps - steps_of(episodes)
    if more == 0:
        return episodes
    padded = {}
    for name in (*SLOT_FIELDS, *STEP_FIELDS):
        field = getattr(episodes, name)
        padding = field.new_zeros(len(field), more, *field.shape[2:])
        padded[name] = torch.cat([field, padding], 1)
    return episodes._replace(**padded)
