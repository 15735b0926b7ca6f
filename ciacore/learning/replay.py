"""The replay: a ring of whole episodes, stored compactly where learning happens."""

from __future__ import annotations

import torch
from torch import Tensor

from ciacore.types import Episodes, refuse


class Replay:
    """Keeps the last `capacity` episodes and samples batches uniformly without replacement.

    As long as the longest episode so far: shorter ones are padded, a longer one makes
    room for all. Nothing here waits for the device: where to insert and what may be
    sampled follow from `inserted`, a tensor.
    """

    def __init__(self, capacity: int, device: torch.device | str = "cpu") -> None:
        self.capacity = capacity
        # episodes ever inserted
        self.inserted = torch.zeros((), dtype=torch.int64, device=device)
        self.slots = torch.arange(capacity, device=device)
        # [capacity, ...] each, made at the first insertion
        self.ring: Episodes | None = None

    def __len__(self) -> int:
        return min(int(self.inserted), self.capacity)

    def insert(self, episodes: Episodes) -> None:
        """Adds episodes, the oldest make room."""
        compact = compacted(episodes)
        if self.ring is None:
            self.ring = Episodes(
                *(field.new_zeros(self.capacity, *field.shape[1:]) for field in compact)
            )
        steps = max(held.rewards.shape[1] for held in (self.ring, compact))
        self.ring, compact = lengthened(self.ring, steps), lengthened(compact, steps)
        count = len(episodes.rewards)
        slots = (self.inserted + self.slots[:count]) % self.capacity
        for kept, field in zip(self.ring, compact, strict=True):
            kept[slots] = field
        self.inserted += count

    def sample(self, batch: int, rng: torch.Generator) -> Episodes:
        """`batch` different episodes of those held, which must be as many: those with the smallest random keys.

        Raises:
            InvalidInputError: nothing was inserted yet, or the ring is smaller than
                `batch`.
        """
        if self.ring is None or batch > self.capacity:
            held = 0 if self.ring is None else self.capacity
            refuse(
                "batch",
                f"at most {held} episodes",
                batch,
                "Insert more episodes first.",
            )
        keys = torch.rand(self.capacity, generator=rng, device=rng.device)
        keys = keys.masked_fill(self.slots >= self.inserted, 2.0)
        chosen = keys.topk(batch, largest=False, sorted=False).indices
        sample = Episodes(*(kept.index_select(0, chosen) for kept in self.ring))
        return sample._replace(actions=sample.actions.long())

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint keeps."""
        held = {} if self.ring is None else self.ring._asdict()
        return {
            "inserted": self.inserted,
            **{name: field[: len(self)] for name, field in held.items()},
        }

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Takes over what `tensors` gave."""
        self.inserted.copy_(tensors["inserted"])
        if "rewards" in tensors:
            fields = (tensors[name].to(self.slots.device) for name in Episodes._fields)
            self.ring = Episodes(*(widened(field, self.capacity) for field in fields))


def widened(field: Tensor, rows: int) -> Tensor:
    """The same with rows of zeros behind its own."""
    wide = field.new_zeros(rows, *field.shape[1:])
    wide[: len(field)] = field
    return wide


def compacted(episodes: Episodes) -> Episodes:
    """The same episodes with the actions in one byte each, where they fit."""
    fits = episodes.available.shape[-1] <= 256
    return episodes._replace(
        actions=episodes.actions.to(torch.uint8) if fits else episodes.actions
    )


def cut(episodes: Episodes) -> Episodes:
    """The same episodes without the steps that are padding in all of them, as the published code cuts every batch.

    Waits for the device.
    """
    steps = int(episodes.weights.sum(1).max())
    at_slots = {
        name: getattr(episodes, name)[:, : steps + 1]
        for name in ("observations", "states", "available")
    }
    in_steps = {
        name: getattr(episodes, name)[:, :steps]
        for name in ("actions", "rewards", "discounts", "weights")
    }
    return episodes._replace(**at_slots, **in_steps)


def lengthened(episodes: Episodes, steps: int) -> Episodes:
    """The same episodes with padding up to `steps` steps."""
    more = steps - episodes.rewards.shape[1]
    if more == 0:
        return episodes
    in_time = episodes[:-2]  # all but context and won
    longer = (
        torch.cat([field, field.new_zeros(len(field), more, *field.shape[2:])], 1)
        for field in in_time
    )
    return Episodes(*longer, episodes.context, episodes.won)
