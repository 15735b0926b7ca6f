"""Which steps of a batch are computed: all of them, or the real ones alone.

Battles differ in length, and a batch is as long as its longest. Most of it may be
padding, which no loss looks at. On a CPU padding is left out: the axes of episodes and
time become one axis of real rows. Elsewhere shapes stay fixed, and all steps are
computed.
"""

from __future__ import annotations

import torch
from jaxtyping import Shaped
from torch import Tensor

from ciacore.fast import switch
from ciacore.types import Episodes

FULL = 0.95  # the share of real steps from which on it does not pay to leave any out


class AllSteps:
    """Every step of every episode: the leading axes of all tensors are B and T.

    A slot is what is seen before or after a step, so that there are T + 1 of them.
    """

    def of_slots(self, field: Shaped[Tensor, "B slots ..."]) -> Tensor:
        """The slots that are computed, of a field that has all of them."""
        return field

    def of_steps(self, field: Shaped[Tensor, "B T ..."]) -> Tensor:
        """The steps that are computed, of a field that has all of them."""
        return field

    def of_episodes(self, field: Shaped[Tensor, "B ..."]) -> Tensor:
        """A field that an episode has once, for each of its steps: [B, 1, ...]."""
        return field.unsqueeze(1)

    def time_first(self, field: Shaped[Tensor, "B slots ..."]) -> Tensor:
        """The slots in the order of a recurrence: [T+1, B, ...]."""
        return field.transpose(0, 1).contiguous()

    def episodes_first(self, slots: Shaped[Tensor, "slots B ..."]) -> Tensor:
        """Back from the order of a recurrence: [B, T+1, ...]."""
        return slots.transpose(0, 1)

    def before(self, slots: Shaped[Tensor, "B slots ..."]) -> Tensor:
        """The slot before each step."""
        return slots[:, :-1]

    def after(self, slots: Shaped[Tensor, "B slots ..."]) -> Tensor:
        """The slot after each step."""
        return slots[:, 1:]

    def by_episode(self, steps: Shaped[Tensor, "B T ..."]) -> Tensor:
        """[B, T, ...] of what was computed of the steps."""
        return steps

    def slots_by_episode(self, slots: Shaped[Tensor, "B slots ..."]) -> Tensor:
        """[B, T+1, ...] of what was computed of the slots."""
        return slots


class RealSteps:
    """The real steps alone: one leading axis R of steps, one of slots.

    Rows are sorted by time, and within a time by the length of the episode, the longest
    first. The episodes still going on at a time are then the first ones of the time
    before, which is what a recurrence along ragged episodes needs.
    """

    def __init__(self, episodes: Episodes) -> None:
        """Finds the real steps.

        Args:
            episodes: B of them, whose `weights` say what is real.
        """
        lengths = episodes.weights.sum(1).long()  # [B]
        self.shape = tuple(episodes.weights.shape)  # (B, T)
        self.longest_first = lengths.argsort(descending=True, stable=True)
        lengths = lengths[self.longest_first]
        times = torch.arange(self.shape[1] + 1)
        # episodes with a slot, and with a step, at each time
        self.slots_at = (lengths >= times[:, None]).sum(1)
        self.steps_at = (lengths > times[:, None]).sum(1)
        self.slots_at = self.slots_at[self.slots_at > 0]
        self.steps_at = self.steps_at[: len(self.slots_at)]
        time, place = rows_of(self.slots_at)
        self.episode_of_slot = self.longest_first[place]
        self.slot = self.episode_of_slot * (self.shape[1] + 1) + time
        # where the slot before and after each step stands among the slots
        first = self.slots_at.cumsum(0) - self.slots_at
        time, place = rows_of(self.steps_at)
        self.slot_before = first[time] + place
        self.slot_after = first[(time + 1).clamp(max=len(first) - 1)] + place
        self.episode_of_step = self.longest_first[place]
        self.step = self.episode_of_step * self.shape[1] + time
        self._find_padding(lengths, first)

    def _find_padding(self, lengths: Tensor, first: Tensor) -> None:
        """Finds the padded steps before the end of the longest episode.

        The E episodes that are shorter come the shortest first: `slot_at_end` [E] is
        where their last slot stands among the real ones, `step_at_end` [E] the place of
        the step right after it in [B, T], `step_later` [P] that of every padded step
        after that, time by time, and `padded_at` how many these are at each time.

        Args:
            lengths: [B] of the episodes, the longest first.
            first: [T+1] where the slots of a time begin.
        """
        longest = int(lengths[0])
        place = torch.arange(len(lengths)).flip(0)  # the shortest first
        place = place[lengths[place] < longest]
        length, episode = lengths[place], self.longest_first[place]
        self.slot_at_end = first[length] + place
        self.step_at_end = episode * self.shape[1] + length
        further = longest - 1 - length  # padded steps after that
        times = torch.arange(1, longest)
        padded_at = (further >= times[:, None]).sum(1)
        self.padded_at = padded_at[padded_at > 0]
        time, place = rows_of(self.padded_at)
        self.step_later = self.step_at_end[place] + 1 + time

    def of_slots(self, field: Shaped[Tensor, "B slots ..."]) -> Shaped[Tensor, "S ..."]:
        """The real slots of a field that has all of them."""
        return field.flatten(0, 1).index_select(0, self.slot)

    def of_steps(self, field: Shaped[Tensor, "B T ..."]) -> Shaped[Tensor, "R ..."]:
        """The real steps of a field that has all of them."""
        return field.flatten(0, 1).index_select(0, self.step)

    def of_episodes(self, field: Shaped[Tensor, "B ..."]) -> Shaped[Tensor, "R ..."]:
        """A field that an episode has once, for each of its real steps."""
        return field.index_select(0, self.episode_of_step)

    def time_first(self, field: Shaped[Tensor, "B slots ..."]) -> Tensor:
        """The real slots; their order is that of a recurrence."""
        return self.of_slots(field)

    def episodes_first(self, slots: Shaped[Tensor, "S ..."]) -> Tensor:
        """The real slots as they are."""
        return slots

    def before(self, slots: Shaped[Tensor, "S ..."]) -> Shaped[Tensor, "R ..."]:
        """The slot before each step."""
        return slots.index_select(0, self.slot_before)

    def after(self, slots: Shaped[Tensor, "S ..."]) -> Shaped[Tensor, "R ..."]:
        """The slot after each step."""
        return slots.index_select(0, self.slot_after)

    def by_episode(self, steps: Shaped[Tensor, "R ..."]) -> Shaped[Tensor, "B T ..."]:
        """[B, T, ...] of what was computed of the real steps; zeros in padding."""
        return put(steps, self.step, self.shape)

    def slots_by_episode(
        self, slots: Shaped[Tensor, "S ..."]
    ) -> Shaped[Tensor, "B slots ..."]:
        """[B, T+1, ...] of what was computed of the real slots; zeros in padding."""
        return put(slots, self.slot, (self.shape[0], self.shape[1] + 1))

    # padding, for the losses that look at it

    def put_at_ends(self, steps: Shaped[Tensor, "E ..."]) -> Shaped[Tensor, "B T ..."]:
        """[B, T, ...] of the steps right after the ends; zeros elsewhere."""
        return put(steps, self.step_at_end, self.shape)

    def put_later(self, steps: Shaped[Tensor, "P ..."]) -> Shaped[Tensor, "B T ..."]:
        """[B, T, ...] of all later padded steps; zeros elsewhere."""
        return put(steps, self.step_later, self.shape)


Steps = AllSteps | RealSteps


def computed_steps(episodes: Episodes) -> Steps:
    """The steps of a batch that an update computes.

    On a CPU these are the real ones, where enough of the batch is padding.

    Args:
        episodes: the batch.
    """
    weights = episodes.weights
    if weights.device.type != "cpu" or not switch.on() or weights.mean() >= FULL:
        return AllSteps()
    return RealSteps(episodes)


def rows_of(count_at: Tensor) -> tuple[Tensor, Tensor]:
    """The time and the place of every row, sorted by time.

    Args:
        count_at: [T] how many rows each time has.
    """
    time = torch.repeat_interleave(torch.arange(len(count_at)), count_at)
    first = count_at.cumsum(0) - count_at
    return time, torch.arange(len(time)) - first[time]


def put(rows: Tensor, places: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A tensor of a shape with rows at some places and zeros elsewhere.

    Args:
        rows: [R, ...].
        places: [R] into the flattened shape, all different.
        shape: the leading axes of the result.
    """
    size = 1
    for axis in shape:
        size *= axis
    empty = rows.new_zeros(size, *rows.shape[1:])
    return empty.index_copy(0, places, rows).unflatten(0, shape)
