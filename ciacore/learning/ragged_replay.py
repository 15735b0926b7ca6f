"""The replay of games that end early: whole episodes, real steps only.

Padded to the longest, 5,000 episodes of a battle would take up to 14 GiB. Here they lie
one after the other, in segments. A full segment never changes again, so that a
checkpoint need not write it twice.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ciacore.learning.replay import draw_slots, pack
from ciacore.types import SLOT_FIELDS, STEP_FIELDS, Episodes, refuse

SEGMENT = 250  # episodes


class Segment(NamedTuple):
    """Episodes one after the other."""

    first: int  # the number of the first, of all that were ever inserted
    lengths: list[int]  # in steps
    episodes: list[Episodes]  # each [1, its length, ...]
    # of a full segment: what the episodes are views of, as a checkpoint keeps it
    tensors: dict[str, Tensor] | None = None


class RaggedReplay:
    """Keeps the last `capacity` episodes; batches are drawn without replacement.

    The same draws give the same episodes as `Replay`. It lies in the memory of the
    host.
    """

    def __init__(self, capacity: int) -> None:
        """Holds nothing yet.

        Args:
            capacity: episodes kept.
        """
        self.capacity = capacity
        self.inserted = torch.zeros((), dtype=torch.int64)  # ever
        self.segments: list[Segment] = []

    def __len__(self) -> int:
        return min(int(self.inserted), self.capacity)

    def insert(self, episodes: Episodes) -> None:
        """Adds episodes; the oldest make room."""
        episodes = pack(episodes)
        lengths = episodes.weights.sum(1).long().tolist()
        for row, length in enumerate(lengths):
            self._open_segment().lengths.append(length)
            self.segments[-1].episodes.append(cut(episodes, row, length))
            self.inserted += 1
            if len(self.segments[-1].lengths) == SEGMENT:
                self.segments[-1] = segment_of(flat(self.segments[-1]))
        oldest = int(self.inserted) - self.capacity
        while self.segments[0].first + len(self.segments[0].lengths) <= oldest:
            del self.segments[0]

    def _open_segment(self) -> Segment:
        """The segment that has room; it is the last."""
        if not self.segments or self.segments[-1].tensors is not None:
            self.segments.append(Segment(int(self.inserted), [], []))
        return self.segments[-1]

    def sample(self, batch: int, rng: torch.Generator) -> Episodes:
        """`batch` different episodes, all equally likely, padded to their longest.

        Args:
            batch: how many; at least as many must be held.
            rng: draws them.

        Raises:
            InvalidInputError: too few are held.
        """
        if batch > len(self):
            cure = "Insert more episodes first."
            refuse("batch", f"at most {len(self)} episodes", batch, cure)
        slots = draw_slots(self.capacity, self.inserted, batch, rng)
        newest = int(self.inserted) - 1
        rounds = (newest - slots) // self.capacity  # times that each slot was reused
        chosen = [self._episode(n) for n in (slots + rounds * self.capacity).tolist()]
        fields = {}
        for name in Episodes._fields:
            parts = [getattr(episode, name)[0] for episode in chosen]
            in_time = name in (*SLOT_FIELDS, *STEP_FIELDS)
            join = padded if in_time else torch.stack
            fields[name] = join(parts)
        return Episodes(**fields | {"actions": fields["actions"].long()})

    def _episode(self, number: int) -> Episodes:
        """An episode by its number among all that were ever inserted."""
        segment = self.segments[(number - self.segments[0].first) // SEGMENT]
        return segment.episodes[number - segment.first]

    def tensors(self) -> dict[str, Tensor]:
        """What a checkpoint writes anew: how many there were, and the open segment."""
        found = {"inserted": self.inserted}
        if self.segments and self.segments[-1].tensors is None:
            found |= flat(self.segments[-1])
        return found

    def nbytes(self) -> int:
        """The memory that the episodes take, in bytes."""
        episodes = [one for segment in self.segments for one in segment.episodes]
        return sum(field.nbytes for episode in episodes for field in episode)

    def sealed(self) -> dict[str, dict[str, Tensor]]:
        """The segments that do not change any more, by name."""
        return {
            f"{segment.first}": segment.tensors
            for segment in self.segments
            if segment.tensors is not None
        }

    def load(
        self,
        tensors: dict[str, Tensor],
        sealed: dict[str, dict[str, Tensor]] | None = None,
    ) -> None:
        """Puts back what was held.

        Args:
            tensors: what `tensors` returned.
            sealed: what `sealed` returned.
        """
        self.inserted.copy_(tensors["inserted"])
        segments = [segment_of(part) for part in (sealed or {}).values()]
        if "lengths" in tensors:
            segments.append(segment_of(tensors))
        self.segments = sorted(segments, key=lambda segment: segment.first)


def padded(parts: list[Tensor]) -> Tensor:
    """Episodes as one tensor [B, longest, ...], with zeros after their ends.

    As torch's `pad_sequence`; but every place is written once, not twice.

    Args:
        parts: [its length, ...] of each of the B episodes.
    """
    longest = max(len(part) for part in parts)
    whole = parts[0].new_empty(len(parts), longest, *parts[0].shape[1:])
    for row, part in zip(whole, parts, strict=True):
        row[: len(part)] = part
        row[len(part) :] = 0
    return whole


def cut(episodes: Episodes, row: int, length: int) -> Episodes:
    """One episode without its padding, as tensors of its own.

    Args:
        episodes: B of them.
        row: which.
        length: its real steps.
    """
    fields = {name: field[row : row + 1] for name, field in episodes._asdict().items()}
    for name in SLOT_FIELDS:
        fields[name] = fields[name][:, : length + 1]
    for name in STEP_FIELDS:
        fields[name] = fields[name][:, :length]
    return Episodes(**{name: field.clone() for name, field in fields.items()})


def flat(segment: Segment) -> dict[str, Tensor]:
    """A segment as tensors: every field's episodes one after the other."""
    found = {
        "first": torch.tensor(segment.first),
        "lengths": torch.tensor(segment.lengths),
    }
    for name in Episodes._fields:
        parts = [getattr(episode, name) for episode in segment.episodes]
        in_time = name in (*SLOT_FIELDS, *STEP_FIELDS)
        found[name] = torch.cat([part[0] for part in parts] if in_time else parts)
    return found


def segment_of(tensors: dict[str, Tensor]) -> Segment:
    """The segment that `flat` wrote; its episodes are views of the tensors."""
    lengths = tensors["lengths"].tolist()
    parts: dict[str, tuple[Tensor, ...]] = {}
    for name in Episodes._fields:
        if name in SLOT_FIELDS:
            parts[name] = tensors[name].split([length + 1 for length in lengths])
        elif name in STEP_FIELDS:
            parts[name] = tensors[name].split(lengths)
        else:
            parts[name] = tensors[name].split(1)
    in_time = (*SLOT_FIELDS, *STEP_FIELDS)
    episodes = []
    for number in range(len(lengths)):
        fields = {
            name: part[number].unsqueeze(0) if name in in_time else part[number]
            for name, part in parts.items()
        }
        episodes.append(Episodes(**fields))
    full = tensors if len(lengths) == SEGMENT else None
    return Segment(int(tensors["first"]), lengths, episodes, full)
