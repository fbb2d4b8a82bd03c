"""Maps as bytes, and the checks that nobody can be shut in, whatever people do."""

from __future__ import annotations

from collections import deque
from pathlib import Path

from asset_art import Tileset, is_ledge, is_warp_class, solid
from asset_files import AssetError, byte, index_of, load_toml

FACINGS = {"down": 0, "up": 1, "left": 2, "right": 3}
STEPS = ((0, 1), (0, -1), (-1, 0), (1, 0))
MOVEMENTS = {"still": 0, "wander": 1, "look": 2, "sight": 3}
MAP_LIMITS = {"warps": 12, "people": 10, "signs": 12, "gates": 8}
MOST_KINDS = 8
# The keys of each entry: those that must be there, those that may.
MAP_ENTRIES = {
    "warps": ({"at", "to", "to_at", "facing"}, set()),
    "people": ({"at", "sprite", "facing", "movement", "range", "script"}, {"if", "unless"}),
    "signs": ({"at", "script"}, set()),
    "gates": ({"at", "event", "closed"}, set()),
}


class GameMap:
    """One map: what is compiled (`blob`) and what the checks look at."""

    def __init__(self, path: Path, number: int, name: str, names: dict[str, list[str]], tilesets: list[Tileset]):
        self.path, self.number, self.name = path, number, name
        source = load_toml(path)
        known = {"title", "tileset", "border", "encounter_rate", "encounters", "mark", "layout", *MAP_LIMITS}
        if set(source) - known:
            raise AssetError(f"{path}: unknown keys {sorted(set(source) - known)}")
        for key in ("title", "tileset", "border", "layout"):
            if key not in source:
                raise AssetError(f"{path}: '{key}' is missing")
        self.title = source["title"]
        self.tileset_id = index_of([tileset.name for tileset in tilesets], source["tileset"], f"{path}: tileset")
        self.tileset = tilesets[self.tileset_id]
        self.border = self._metatile(source["border"], "border")
        self.rate = byte(source.get("encounter_rate", 0), f"{path}: encounter_rate")
        self.encounters = 0
        if self.rate:
            self.encounters = index_of(names["encounters"], source.get("encounters", ""), f"{path}: encounters")
        rows = source["layout"].strip("\n").split("\n")
        self.height, self.width = len(rows), len(rows[0])
        if self.height > 32 or self.width > 32:
            raise AssetError(f"{path}: {self.width}x{self.height} is larger than 32x32")
        self.layout: list[int] = []
        for y, row in enumerate(rows):
            if len(row) != self.width:
                raise AssetError(f"{path}: row {y} of the layout has {len(row)} letters, row 0 has {self.width}")
            for x, char in enumerate(row):
                if char not in self.tileset.chars:
                    raise AssetError(f"{path}: '{char}' at ({x}, {y}) is no letter of the {self.tileset.name} tileset")
                self.layout.append(self.tileset.chars[char])
        self.mark = self._place({"at": source.get("mark", [0, 0])})
        if "mark" in source and solid(self.at(*self.mark)):
            raise AssetError(f"{path}: the mark at {self.mark} is solid")
        self._check_entries(source)
        self.warps = [self._warp(entry, names) for entry in source.get("warps", [])]
        self.people = [self._person(entry, names) for entry in source.get("people", [])]
        if len({person[2] for person in self.people}) > MOST_KINDS:
            raise AssetError(f"{path}: people of more than {MOST_KINDS} kinds: there are no tiles for their figures")
        self.signs = [self._sign(entry, names) for entry in source.get("signs", [])]
        self.gates = [self._gate(entry, names) for entry in source.get("gates", [])]

    def _check_entries(self, source: dict) -> None:
        for key, (required, optional) in MAP_ENTRIES.items():
            entries = source.get(key, [])
            if len(entries) > MAP_LIMITS[key]:
                raise AssetError(f"{self.path}: more than {MAP_LIMITS[key]} {key}")
            places = [tuple(entry.get("at", ())) for entry in entries]
            for place, entry in zip(places, entries, strict=True):
                if not required <= set(entry) <= required | optional:
                    raise AssetError(f"{self.path}: {key} {entry}: the keys must be {sorted(required)}")
                if places.count(place) > 1:
                    raise AssetError(f"{self.path}: two {key} at {place}")

    def _metatile(self, label: str, where: str) -> int:
        if label not in self.tileset.ids:
            raise AssetError(f"{self.path}: {where}: the {self.tileset.name} tileset has no '{label}'")
        return self.tileset.ids[label]

    def _place(self, entry: dict) -> tuple[int, int]:
        x, y = entry["at"]
        if not (0 <= x < self.width and 0 <= y < self.height):
            raise AssetError(f"{self.path}: ({x}, {y}) lies outside the map")
        return x, y

    def _warp(self, entry: dict, names: dict) -> tuple:
        x, y = self._place(entry)
        to = index_of(names["maps"], entry["to"], f"{self.path}: warp at ({x}, {y})")
        facing = index_of(list(FACINGS), entry["facing"], f"{self.path}: warp at ({x}, {y})")
        return x, y, to, *entry["to_at"], facing

    def _person(self, entry: dict, names: dict) -> tuple:
        x, y = self._place(entry)
        where = f"{self.path}: person at ({x}, {y})"
        flag = 0
        if "if" in entry and "unless" in entry:
            raise AssetError(f"{where}: 'if' or 'unless', not both")
        if "if" in entry:
            flag = index_of(names["events"], entry["if"], where) + 1
        if "unless" in entry:
            flag = 0x80 | index_of(names["events"], entry["unless"], where) + 1
        return (
            x,
            y,
            index_of(names["sprites"], entry["sprite"], where),
            index_of(list(FACINGS), entry["facing"], where),
            index_of(list(MOVEMENTS), entry["movement"], where),
            byte(entry["range"], where),
            index_of(names["texts"], entry["script"], where) + 1,
            flag,
        )

    def _sign(self, entry: dict, names: dict) -> tuple:
        x, y = self._place(entry)
        if not solid(self.at(x, y)):
            raise AssetError(f"{self.path}: the sign at ({x}, {y}) is not on a solid tile")
        return x, y, index_of(names["texts"], entry["script"], f"{self.path}: sign at ({x}, {y})") + 1

    def _gate(self, entry: dict, names: dict) -> tuple:
        x, y = self._place(entry)
        event = index_of(names["events"], entry["event"], f"{self.path}: gate at ({x}, {y})") + 1
        closed = self._metatile(entry["closed"], "gate")
        if solid(self.at(x, y)) or not solid(closed):
            raise AssetError(f"{self.path}: gate at ({x}, {y}): the layout must be walkable, the closed metatile solid")
        return x, y, event, closed

    def at(self, x: int, y: int) -> int:
        return self.layout[y * self.width + x]

    def blob(self) -> bytes:
        head = [self.width, self.height, self.tileset_id, self.border, self.rate, self.encounters]
        lists = (self.warps, self.people, self.signs, self.gates)
        data = bytes([*head, *(len(entries) for entries in lists), *self.mark, *self.layout])
        return data + b"".join(bytes(entry) for entries in lists for entry in entries)

    # What the checks ask. A "block" is a set of tiles nobody can stand on.

    def fixed_people(self) -> set[tuple[int, int]]:
        return {(person[0], person[1]) for person in self.people if person[4] != MOVEMENTS["wander"]}

    def walk(self, start: tuple[int, int], blocked: set[tuple[int, int]]) -> set[tuple[int, int]]:
        """Every tile that one can stand on from `start`, warps included (they end the walk), ledges hopped down."""
        seen, queue = {start}, deque([start])
        while queue:
            x, y = queue.popleft()
            for tile in self.neighbours(x, y, blocked):
                if tile not in seen:
                    seen.add(tile)
                    if tile not in self.warp_tiles:
                        queue.append(tile)
        return seen

    def walk_back(self, goal: tuple[int, int], tiles: set[tuple[int, int]], blocked: set[tuple[int, int]]) -> set:
        """Those of `tiles` from which one gets to `goal` without leaving the map."""
        before: dict[tuple[int, int], list[tuple[int, int]]] = {}
        for tile in tiles - self.warp_tiles:
            for to in self.neighbours(*tile, blocked):
                before.setdefault(to, []).append(tile)
        seen, queue = {goal}, deque([goal])
        while queue:
            for tile in before.get(queue.popleft(), ()):
                if tile not in seen:
                    seen.add(tile)
                    queue.append(tile)
        return seen

    def neighbours(self, x: int, y: int, blocked: set[tuple[int, int]]):
        for facing, (dx, dy) in enumerate(STEPS):
            to_x, to_y = x + dx, y + dy
            if not (0 <= to_x < self.width and 0 <= to_y < self.height):
                continue
            if is_ledge(self.at(to_x, to_y)):
                if facing != FACINGS["down"]:
                    continue
                to_y += 1
                if to_y >= self.height or is_ledge(self.at(to_x, to_y)):
                    continue
            if not solid(self.at(to_x, to_y)) and (to_x, to_y) not in blocked:
                yield to_x, to_y

    @property
    def warp_tiles(self) -> set[tuple[int, int]]:
        return {(warp[0], warp[1]) for warp in self.warps}

    def wander_square(self, person: tuple) -> set[tuple[int, int]]:
        """Where a wandering person can get to: the square around home, walkable, no ledge, no warp, reached on foot."""
        home_x, home_y, reach = person[0], person[1], person[5]
        seen, queue = {(home_x, home_y)}, deque([(home_x, home_y)])
        while queue:
            x, y = queue.popleft()
            for dx, dy in STEPS:
                tile = to_x, to_y = x + dx, y + dy
                if tile in seen or not (0 <= to_x < self.width and 0 <= to_y < self.height):
                    continue
                metatile = self.at(to_x, to_y)
                inside = abs(to_x - home_x) <= reach and abs(to_y - home_y) <= reach
                if inside and metatile < 0x28 and tile not in self.fixed_people():
                    seen.add(tile)
                    queue.append(tile)
        return seen


def beside(x: int, y: int) -> list[tuple[int, int]]:
    return [(x + dx, y + dy) for dx, dy in STEPS]


def check_maps(maps: list[GameMap], places: list[tuple[int, int, int]]) -> None:
    """Raise AssetError where a map could not be played: see each message.

    `places` are those where one finds oneself without a door: (map, x, y).
    """
    arrivals: list[set[tuple[int, int]]] = [set() for _ in maps]
    for number, x, y in places:
        arrivals[number].add((x, y))
    for game_map in maps:
        for x, y, to, to_x, to_y, _ in game_map.warps:
            where = f"{game_map.path}: warp at ({x}, {y})"
            if not is_warp_class(game_map.at(x, y)):
                raise AssetError(f"{where}: its metatile is not of the warp class (0x30-0x3F)")
            target = maps[to]
            if not (0 <= to_x < target.width and 0 <= to_y < target.height):
                raise AssetError(f"{where}: ({to_x}, {to_y}) lies outside {target.name}")
            metatile = target.at(to_x, to_y)
            if solid(metatile) or is_ledge(metatile) or (to_x, to_y) in target.warp_tiles:
                raise AssetError(f"{where}: ({to_x}, {to_y}) in {target.name} is solid, a ledge or a warp itself")
            arrivals[to].add((to_x, to_y))
        for tile_y in range(game_map.height):
            for tile_x in range(game_map.width):
                if is_warp_class(game_map.at(tile_x, tile_y)) and (tile_x, tile_y) not in game_map.warp_tiles:
                    raise AssetError(f"{game_map.path}: ({tile_x}, {tile_y}) looks like a warp and has none")
    for game_map in maps:
        check_map(game_map, arrivals[game_map.number])


def check_map(game_map: GameMap, arrivals: set[tuple[int, int]]) -> None:
    path = game_map.path
    if not arrivals:
        raise AssetError(f"{path}: nothing leads here")
    fixed = game_map.fixed_people()
    for person in game_map.people:
        x, y = person[:2]
        # A still person may stand on furniture (the balls on their table); who walks needs a floor under the feet.
        if person[4] == MOVEMENTS["wander"] and solid(game_map.at(x, y)):
            raise AssetError(f"{path}: the person at ({x}, {y}) wanders and stands on a solid tile")
        if (x, y) in arrivals or (x, y) in game_map.warp_tiles:
            raise AssetError(f"{path}: the person at ({x}, {y}) stands where one arrives or leaves")
    places = {
        *((f"warp at {tile}", frozenset([tile])) for tile in game_map.warp_tiles),
        *((f"person at {person[:2]}", frozenset(beside(*person[:2]))) for person in game_map.people),
        *((f"sign at {sign[:2]}", frozenset(beside(*sign[:2]))) for sign in game_map.signs),
        *((f"arrival at {tile}", frozenset([tile])) for tile in arrivals),
    }
    reach = {tile: game_map.walk(tile, fixed) for tile in arrivals}
    everywhere = set().union(*reach.values())
    for tile, seen in reach.items():
        for label, goals in places:
            if not goals & seen:
                raise AssetError(f"{path}: from {tile} one cannot reach the {label}")
    home = next(iter(sorted(arrivals)))
    stuck = everywhere - game_map.warp_tiles - game_map.walk_back(home, everywhere, fixed)
    if stuck:
        raise AssetError(f"{path}: from {min(stuck)} one cannot get back to {home}")
    # Nobody may stand where the way for the player would be cut: neither one person nor two together.
    squares = [(person, game_map.wander_square(person)) for person in game_map.people if person[4] == MOVEMENTS["wander"]]
    for person, square in squares:
        doorstep = square & arrivals
        if doorstep:
            raise AssetError(f"{path}: the person at {person[:2]} can wander onto {sorted(doorstep)}, where one arrives")
    for position, (person, square) in enumerate(squares):
        for tile in sorted(square):
            cut = cutting_tiles(game_map, home, fixed | {tile})
            if cut is None:
                raise AssetError(f"{path}: the person at {person[:2]} can cut the way by standing at {tile}")
            for other, other_square in squares[position + 1 :]:
                both = (cut & other_square) - {tile}
                if both:
                    raise AssetError(
                        f"{path}: the people at {person[:2]} and {other[:2]} can cut the way together, at {tile} and "
                        f"{sorted(both)[0]}"
                    )


def cutting_tiles(game_map: GameMap, home: tuple[int, int], blocked: set[tuple[int, int]]) -> set[tuple[int, int]] | None:
    """Tiles whose loss would cut off a way out from `home`; None if `blocked` cuts one off already.

    All warps to one map count as one way out, written (-1, map), and the search passes through it as if it were a
    tile. Ledges count as walls here, so what this allows works without hopping.
    """
    leads_to = {(warp[0], warp[1]): (-1, warp[2]) for warp in game_map.warps}
    goals = set(leads_to.values())

    def steps(tile: tuple[int, int]) -> list[tuple[int, int]]:
        return [to for to in game_map.neighbours(*tile, blocked) if abs(to[0] - tile[0]) + abs(to[1] - tile[1]) == 1]

    def around(tile: tuple[int, int]) -> list[tuple[int, int]]:
        if tile in goals:
            return [to for warp in leads_to if leads_to[warp] == tile for to in steps(warp) if to not in leads_to]
        return [leads_to.get(to, to) for to in steps(tile)]

    order = {home: 0}
    low = {home: 0}
    holds = {home: home in goals}
    cut: set[tuple[int, int]] = set()
    stack = [(home, None, iter(around(home)))]
    while stack:
        tile, parent, todo = stack[-1]
        for to in todo:
            if to == parent:
                continue
            if to in order:
                low[tile] = min(low[tile], order[to])
                continue
            order[to] = low[to] = len(order)
            holds[to] = to in goals
            stack.append((to, tile, iter(around(to))))
            break
        else:
            stack.pop()
            if parent is None:
                continue
            low[parent] = min(low[parent], low[tile])
            if low[tile] >= order[parent] and holds[tile] and parent != home:
                cut.add(parent)
            holds[parent] = holds[parent] or holds[tile]
    if not goals <= set(order):
        return None
    return cut
