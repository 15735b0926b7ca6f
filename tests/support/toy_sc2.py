"""A program that answers like Blizzard's SC2_x64, with a toy battle inside.

It has its command line, its websocket and its protobuf. Needs `websockets` and
`s2clientprotocol` (or `pys2clientprotocol`), which come with SMAC's requirements or the
tests'. The file named by TOY_SC2_CRASH, if it is there, is deleted at the next long
step, and the program dies like a crash.
"""

from __future__ import annotations

import math
import os
import sys
from typing import Any

from s2clientprotocol import raw_pb2, sc2api_pb2
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import serve

# Blizzard's numbers
COLOSSUS, MARINE, ZEALOT, STALKER, ZERGLING, HYDRALISK = 4, 48, 73, 74, 105, 107
TABLE = {  # hit points, shields, reach, damage
    COLOSSUS: (200, 150, 7.0, 20),
    MARINE: (45, 0, 5.0, 6),
    ZEALOT: (100, 50, 0.1, 16),
    STALKER: (80, 80, 6.0, 13),
    ZERGLING: (35, 0, 0.1, 5),
    HYDRALISK: (80, 0, 5.0, 12),
}
# as the maps place them: the agents' types get numbers of their own there, in this
# order
TEAMS = {
    "10m_vs_11m": ([(MARINE, 10)], [(MARINE, 11)]),
    "2c_vs_64zg": ([(COLOSSUS, 2)], [(ZERGLING, 64)]),
    "7sz": ([(STALKER, 7), (ZEALOT, 7)], [(STALKER, 7), (ZEALOT, 7)]),
    "6h_vs_8z": ([(HYDRALISK, 6)], [(ZEALOT, 8)]),
    "corridor": ([(ZEALOT, 6)], [(ZERGLING, 24)]),
    "3s5z_vs_3s6z": ([(STALKER, 3), (ZEALOT, 5)], [(STALKER, 3), (ZEALOT, 6)]),
}
OWN_TYPES = 1900
MOVE, ATTACK = 16, 23  # abilities
# cells per tick, cells between centres of units that touch, ticks
PACE, BODY, COOLDOWN = 0.14, 1.2, 15


class Battle:
    """Two teams on a plane of 32 by 32 cells."""

    def __init__(self, scenario: str) -> None:
        self.scenario = scenario
        self.ticks = 0
        self.tags = 0  # the last that was used
        self.units: dict[int, tuple[raw_pb2.Unit, int]] = {}  # tag -> unit, type
        self.orders: dict[int, Any] = {}
        self.place()

    def place(self) -> None:
        """Fresh units; tags are never used twice."""
        for owner, groups in enumerate(TEAMS[self.scenario], 1):
            for group, (kind, count) in enumerate(groups):
                points, shields = TABLE[kind][:2]
                for index in range(count):
                    self.tags += 1
                    unit = raw_pb2.Unit(
                        tag=self.tags,
                        owner=owner,
                        unit_type=OWN_TYPES + group if owner == 1 else kind,
                    )
                    unit.health_max = points
                    unit.health = points
                    unit.shield_max = shields
                    unit.shield = shields
                    unit.pos.x = (9 if owner == 1 else 23) + 0.7 * (index % 3)
                    unit.pos.y = 13 + 3 * group + 0.7 * (index // 3)
                    self.units[self.tags] = unit, kind

    def tick(self) -> None:
        """Every unit that lives acts once; foes go for the nearest agent."""
        self.ticks += 1
        for tag, (unit, kind) in list(self.units.items()):
            if tag in self.units:
                self.act(unit, kind, self.orders.get(tag))
        if not self.units:  # the maps' trigger after everybody is dead
            self.place()

    def act(self, unit: raw_pb2.Unit, kind: int, order: Any) -> None:
        """Attack what is in reach, walk to what is not."""
        unit.weapon_cooldown = max(0, unit.weapon_cooldown - 1)
        others = []
        for other, _ in self.units.values():
            if other.owner != unit.owner:
                others.append(other)
        target = None
        if unit.owner == 2 and others:
            target = min(others, key=lambda other: apart(unit, other.pos))
        elif order is not None and order.ability_id == ATTACK:
            if order.target_unit_tag in self.units:
                target, _ = self.units[order.target_unit_tag]
        if target is None:
            if order is not None and order.ability_id == MOVE:
                walk(unit, order.target_world_space_pos)
        elif apart(unit, target.pos) > TABLE[kind][2] + BODY:
            walk(unit, target.pos)
        elif unit.weapon_cooldown == 0:
            unit.weapon_cooldown = COOLDOWN
            self.hurt(target, TABLE[kind][3])

    def hurt(self, unit: raw_pb2.Unit, damage: float) -> None:
        """Shields first."""
        absorbed = min(unit.shield, damage)
        unit.shield -= absorbed
        unit.health = max(0, unit.health - damage + absorbed)
        if unit.health == 0:
            del self.units[unit.tag]


def apart(unit: raw_pb2.Unit, point: Any) -> float:
    """The distance in cells."""
    return math.dist((unit.pos.x, unit.pos.y), (point.x, point.y))


def walk(unit: raw_pb2.Unit, point: Any) -> None:
    """One tick towards a point."""
    way = apart(unit, point)
    share = min(1.0, PACE / way) if way else 0.0
    unit.pos.x += share * (point.x - unit.pos.x)
    unit.pos.y += share * (point.y - unit.pos.y)


class Program:
    """Answers requests, one after the other."""

    def __init__(self) -> None:
        self.battle: Battle | None = None
        self.status = sc2api_pb2.launched

    def answer(self, request: Any) -> Any:
        """The response to a request; one that is not known here is an error by name."""
        kind = request.WhichOneof("request")
        response = sc2api_pb2.Response(id=request.id)
        known = getattr(self, kind, None)
        if known is None:
            response.error.append(f"{kind}: unknown to this stand-in")
        else:
            getattr(response, kind).SetInParent()
            known(getattr(request, kind), getattr(response, kind))
        response.status = self.status
        return response

    def ping(self, _: Any, response: Any) -> None:
        response.game_version = "4.10.0"
        response.base_build = 75689

    def create_game(self, request: Any, _: Any) -> None:
        name = os.path.basename(request.local_map.map_path).removesuffix(".SC2Map")
        self.battle = Battle(name)
        self.status = sc2api_pb2.init_game

    def join_game(self, _: Any, response: Any) -> None:
        self.status = sc2api_pb2.in_game
        response.player_id = 1

    def game_info(self, _: Any, response: Any) -> None:
        raw = response.start_raw
        raw.map_size.x = 32
        raw.map_size.y = 32
        raw.playable_area.p0.x = 0
        raw.playable_area.p0.y = 8
        raw.playable_area.p1.x = 32
        raw.playable_area.p1.y = 24
        raw.pathing_grid.bits_per_pixel = 1
        raw.pathing_grid.data = b"\xff" * 128
        raw.terrain_height.bits_per_pixel = 8
        raw.terrain_height.data = b"\x7f" * 1024

    def observation(self, _: Any, response: Any) -> None:
        response.observation.game_loop = self.battle.ticks
        for unit, _ in self.battle.units.values():
            response.observation.raw_data.units.add().CopyFrom(unit)

    def action(self, request: Any, response: Any) -> None:
        for each in request.actions:
            command = each.action_raw.unit_command
            for tag in command.unit_tags:
                self.battle.orders[tag] = command
            response.result.append(1)

    def step(self, request: Any, response: Any) -> None:
        crash = os.environ.get("TOY_SC2_CRASH", "")
        if request.count > 2 and os.path.exists(crash):
            os.remove(crash)
            os._exit(9)
        for _ in range(request.count):
            self.battle.tick()
        response.simulation_loop = self.battle.ticks

    def debug(self, request: Any, _: Any) -> None:
        for command in request.debug:
            for tag in command.kill_unit.tag:
                self.battle.units.pop(tag, None)

    def save_replay(self, _: Any, response: Any) -> None:
        response.data = b"no replay"

    def quit(self, *_: Any) -> None:
        os._exit(0)


def main() -> None:
    """SC2_x64 -listen HOST -port PORT ..."""
    options = {}
    for name, value in zip(sys.argv[1::2], sys.argv[2::2], strict=False):
        options[name] = value
    program = Program()

    def converse(socket: Any) -> None:
        while True:
            try:
                # pysc2 sends frames of text
                request = sc2api_pb2.Request.FromString(socket.recv(decode=False))
            except ConnectionClosed:
                return
            socket.send(program.answer(request).SerializeToString())

    with serve(converse, options["-listen"], int(options["-port"])) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
