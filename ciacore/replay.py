"""The replay: a ring of whole episodes, stored compactly."""

from __future__ import annotations

import torch

from ciacore.types import Episodes, refuse


class Replay:
    """Keeps the last `capacity` episodes and samples batches uniformly without replacement."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.inserted = 0  # episodes ever inserted
        self.ring: Episodes | None = None  # [capacity, ...] each, made at the first insertion

    def __len__(self) -> int:
        return min(self.inserted, self.capacity)

    def insert(self, episodes: Episodes) -> None:
        """Adds episodes, the oldest make room."""
        if self.ring is None:
            self.ring = Episodes(*(field.new_zeros(self.capacity, *field.shape[1:]) for field in episodes))
        count = len(episodes.rewards)
        slots = torch.arange(self.inserted, self.inserted + count, device=episodes.rewards.device) % self.capacity
        for kept, field in zip(self.ring, episodes, strict=True):
            kept[slots] = field
        self.inserted += count

    def sample(self, batch: int, rng: torch.Generator) -> Episodes:
        """`batch` different episodes.

        Raises:
            InvalidInputError: fewer than `batch` episodes are held.
        """
        if self.ring is None or batch > len(self):
            refuse("batch", f"at most {len(self)}, the episodes held", batch, "Insert more episodes first.")
        chosen = torch.randperm(len(self), generator=rng, device=rng.device)[:batch]
        return Episodes(*(kept[chosen] for kept in self.ring))
