"""Towns and routes: borders, houses, ponds, roads, grass, and things scattered in the way."""

from __future__ import annotations

from pokemon_env.games.tallgrass.worlds.canvas import Canvas, Door, NoRoom, Tile
from pokemon_env.games.tallgrass.worlds.draw import Draw
from pokemon_env.games.tallgrass.worlds.story import DOWN, LEFT, RIGHT, SIGHT, UP, WANDER

_CLUMPS = (  # what is scattered, as rows of metatiles; none is wider or higher than 4 tiles
    (("tree",),),
    (("tree",),),
    (("tree", "tree"),),
    (("tree",), ("tree",)),
    (("tree", "tree"), ("tree", "tree")),
    (("tree", "tree", "tree"),),
    (("fence", "fence"),),
    (("fence", "fence", "fence"),),
    (("fence",), ("fence",)),
    (("fence",), ("fence",), ("fence",)),
)


def bordered(draw: Draw, width: int, height: int) -> Canvas:
    """Make a meadow with trees around it."""
    canvas = Canvas(draw, width, height, indoor=False, floor="ground")
    for x in range(width):
        canvas.put(x, 0, "tree")
        canvas.put(x, height - 1, "tree")
    for y in range(height):
        canvas.put(0, y, "tree")
        canvas.put(width - 1, y, "tree")
    return canvas


def road_end(canvas: Canvas, to: str, x: int, north: bool, length: int) -> list[Tile]:
    """Open the border at x, x + 1 for a road of `length` tiles to the map `to`; return the two tiles next to the border."""
    edge, step = (0, 1) if north else (canvas.height - 1, -1)
    for column in (x, x + 1):
        canvas.put(column, edge, "road_north" if north else "road_south")
        for i in range(1, length + 1):
            canvas.put(column, edge + step * i, "path")
            canvas.keep((column, edge + step * i))
    # The tiles on both sides of the arrivals stay free, so that no arrival is in a nook.
    canvas.keep((x - 1, edge + step), (x + 2, edge + step), (x, edge + 2 * step), (x + 1, edge + 2 * step))
    ends = [(x, edge + step), (x + 1, edge + step)]
    canvas.doors[to] = Door([(x, edge), (x + 1, edge)], ends, DOWN if north else UP)
    return ends


def house(canvas: Canvas, x: int, y: int, width: int, height: int, door: int) -> Tile:
    """Build a house of `height` rows; `door` counts from its left wall, 0 for a house without. Return the door's tile."""
    rows = [["roof_top_left", *["roof_top"] * (width - 2), "roof_top_right"]]
    for _ in range(height - 2):
        rows.append(["roof_left", *["roof"] * (width - 2), "roof_right"])
    rows.append(["wall_left", *["wall_window"] * (width - 2), "wall_right"])
    if door:
        rows[-1][door] = "house_door"
    canvas.put_rows(x, y, rows)
    return x + door, y + height - 1


def hall(canvas: Canvas, x: int, y: int, width: int, height: int, door: int, shield: str | None) -> Tile:
    """Build a public building with a flat roof, `height` rows with it, a shield above its door. Return the door's tile."""
    rows = [["lab_roof_left", *["lab_roof"] * (width - 2), "lab_roof_right"]]
    for number in range(height - 1):
        middle = ["lab_wall"] * (width - 2) if number % 2 else ["lab_window"] * (width - 2)
        rows.append(["lab_wall_left", *middle, "lab_wall_right"])
    rows[-1][1:-1] = ["lab_window"] * (width - 2)
    rows[-1][door] = "lab_door"
    if shield is not None:
        rows[-2][door] = shield
    canvas.put_rows(x, y, rows)
    return x + door, y + height - 1


_HALLS = {"LAB": None, "CENTER": "centre_sign", "GYM": "gym_sign"}
"""Public buildings, and the shield above the door."""


def place_building(canvas: Canvas, name: str, area: tuple[int, int, int, int] | None = None) -> None:
    """Put up the building that the map `name` is in, with its doorstep kept free."""
    draw = canvas.draw
    width = draw.between(5, 7) if name in _HALLS else draw.between(4, 6)
    height = draw.between(3, 4)
    # Two free rows below: the doorstep, and one to pass.
    x, y = canvas.find_room(width, height + 1, margin=1, area=area)
    door = draw.between(1, width - 2)
    if name in _HALLS:
        tile = hall(canvas, x, y, width, height, door, _HALLS[name])
    else:
        tile = house(canvas, x, y, width, height, door)
    front_x, front_y = tile[0], tile[1] + 1
    canvas.doors[name] = Door([tile], [(front_x, front_y)], DOWN)
    canvas.keep((front_x - 1, front_y), (front_x, front_y), (front_x + 1, front_y), (front_x, front_y + 1))


def place_sign_near(canvas: Canvas, tile: Tile, script: str, spread: int = 2) -> None:
    """Place a sign near a tile; none if there is no room (nothing depends on it)."""
    x, y = tile
    spots = [(x + dx, y + dy) for dx in range(-spread, spread + 1) for dy in range(0, spread + 1) if (dx, dy) != (0, 0)]
    for spot in canvas.draw.shuffled(spots):
        if canvas.room(*spot, 1, 1):
            canvas.put(*spot, "sign")
            canvas.sign(*spot, script)
            canvas.keep((spot[0], spot[1] + 1))
            return


def place_pond(canvas: Canvas) -> Tile:
    """Place a pond; return a tile below its shore."""
    draw = canvas.draw
    width, height = draw.between(2, 4), draw.between(2, 4)
    x, y = canvas.find_room(width, height)
    for dy in range(height):
        for dx in range(width):
            north, south = ("n" if dy == 0 else ""), ("s" if dy == height - 1 else "")
            side = "w" if dx == 0 else "e" if dx == width - 1 else ""
            shore = north + south + side
            canvas.put(x + dx, y + dy, f"water_{shore}" if shore else "water")
    return draw.between(x, x + width - 1), y + height


def lay_road(canvas: Canvas, start: Tile, goals: set[Tile]) -> None:
    """Lay a trodden path along a shortest path; nothing solid will be placed on it."""
    for x, y in canvas.way(start, goals):
        if canvas.tiles[y][x] == canvas.floor:
            canvas.put(x, y, "path")
        canvas.keep((x, y))


def scatter(canvas: Canvas, share: int, ledges: int, area: tuple[int, int, int, int] | None = None) -> None:
    """Place trees, fences and ledges, about one thing for each `share` tiles, `ledges` percent of them ledges."""
    draw = canvas.draw
    left, top, right, bottom = area or (1, 1, canvas.width - 2, canvas.height - 2)
    for _ in range((right - left + 1) * (bottom - top + 1) * 2 // share):
        x, y = draw.between(left, right), draw.between(top, bottom)
        if draw.chance(ledges):
            rows: tuple[tuple[str, ...], ...] = (("ledge",) * draw.between(2, 4),)
        else:
            rows = draw.pick(_CLUMPS)
        width, height = len(rows[0]), len(rows)
        if x + width - 1 <= right and y + height - 1 <= bottom and canvas.room(x, y, width, height):
            canvas.put_rows(x, y, rows)


def place_flowers(canvas: Canvas, count: int) -> None:
    for _ in range(count):
        x, y = canvas.draw.between(1, canvas.width - 2), canvas.draw.between(1, canvas.height - 2)
        if canvas.tiles[y][x] == canvas.floor:
            canvas.put(x, y, "flowers")


def place_grass(canvas: Canvas, count: int, area: tuple[int, int, int, int]) -> list[Tile]:
    """Place patches of tall grass; return a tile in the middle of each."""
    draw = canvas.draw
    left, top, right, bottom = area
    middles = []
    for _ in range(count):
        width, height = draw.between(3, 6), draw.between(2, 4)
        x, y = draw.between(left, max(left, right - width + 1)), draw.between(top, max(top, bottom - height + 1))
        for dy in range(height):
            for dx in range(width):
                if canvas.inside(x + dx, y + dy) and canvas.tiles[y + dy][x + dx] in (canvas.floor, canvas.ids["flowers"]):
                    canvas.put(x + dx, y + dy, "tall_grass")
        middles.append((x + width // 2, y + height // 2))
    return middles


def place_walkers(
    canvas: Canvas, who: list[tuple[str, str]], avoid: set[Tile], area: tuple[int, int, int, int] | None = None
) -> None:
    """Place people who wander, each within a square of their own, away from all of `avoid` and from one another."""
    draw = canvas.draw
    left, top, right, bottom = area or (1, 1, canvas.width - 2, canvas.height - 2)
    homes: list[tuple[int, int, int]] = []
    for sprite, script in who:
        for _ in range(80):
            x, y = draw.between(left, right), draw.between(top, bottom)
            reach = draw.between(1, 2)
            clear = reach + 1
            if not canvas.walkable(x, y) or canvas.tiles[y][x] >= 0x20 or (x, y) in canvas.kept:
                continue
            if any(abs(x - ax) <= clear and abs(y - ay) <= clear for ax, ay in avoid):
                continue
            if any(max(abs(x - hx), abs(y - hy)) <= reach + other + 2 for hx, hy, other in homes):
                continue
            homes.append((x, y, reach))
            canvas.person(x, y, sprite, script, draw.pick((DOWN, UP, LEFT, RIGHT)), WANDER, reach)
            break
        else:
            raise NoRoom(f"no place for {sprite} on a map of {canvas.width}x{canvas.height}")


def make_town(draw: Draw) -> Canvas:
    """Make TOWN: home, Bram's house, the laboratory, the road north."""
    canvas = bordered(draw, draw.between(19, 25), draw.between(18, 24))
    road = draw.between(3, canvas.width - 5)
    ends = road_end(canvas, "ROUTE_1", road, north=True, length=draw.between(1, 4))
    for name in draw.shuffled(["HOUSE_1F", "RIVAL_1F", "LAB"]):
        place_building(canvas, name)
    canvas.lock("LAB", "MET_RIVAL", "lab_door_shut")
    canvas.lock("ROUTE_1", "EXIT_LAB", "barrier")
    shore = place_pond(canvas)
    for name in draw.shuffled(["HOUSE_1F", "RIVAL_1F", "LAB"]):
        if draw.chance(75):
            lay_road(canvas, canvas.front(name), {tile for tile in canvas.kept if canvas.tiles[tile[1]][tile[0]] == 1})
    place_sign_near(canvas, canvas.front("HOUSE_1F"), "T_SIGN_HOME")
    place_sign_near(canvas, canvas.front("RIVAL_1F"), "T_SIGN_RIVAL")
    place_sign_near(canvas, canvas.front("LAB"), "T_SIGN_LAB")
    place_sign_near(canvas, (ends[0][0], 2), "T_SIGN_NORTH", spread=3)
    place_sign_near(canvas, shore, "T_SIGN_POND")
    scatter(canvas, share=9, ledges=25)
    place_flowers(canvas, draw.between(8, 20))
    avoid = {*ends, *(canvas.front(name) for name in ("HOUSE_1F", "RIVAL_1F", "LAB"))}
    people = [("WOMAN", "T_TOWN_WOMAN"), ("MAN", "T_TOWN_MAN"), ("KID", "T_TOWN_KID"), ("ELDER", "T_TOWN_ELDER")]
    place_walkers(canvas, draw.shuffled(people)[: draw.between(2, 4)], avoid)
    return canvas


def make_route_1(draw: Draw) -> Canvas:
    """Make ROUTE_1: from TOWN in the south to TOWN_2 in the north."""
    canvas = bordered(draw, draw.between(14, 19), draw.between(22, 29))
    south_end = road_end(canvas, "TOWN", draw.between(3, canvas.width - 5), north=False, length=draw.between(1, 4))
    north_end = road_end(canvas, "TOWN_2", draw.between(3, canvas.width - 5), north=True, length=draw.between(1, 4))
    canvas.lock("TOWN_2", "FIRST_CATCH", "barrier")
    place_sign_near(canvas, (south_end[0][0], canvas.height - 5), "T_SIGN_ROUTE", spread=3)
    place_sign_near(canvas, (north_end[0][0], 2), "T_SIGN_CLOSED", spread=3)
    scatter(canvas, share=7, ledges=40)
    if draw.chance(60):
        lay_road(canvas, draw.pick(south_end), {draw.pick(north_end)})
    place_flowers(canvas, draw.between(4, 12))
    area = (2, 4, canvas.width - 3, canvas.height - 6)
    middles = place_grass(canvas, draw.between(4, 6), area)
    grass = canvas.ids["tall_grass"]
    marks = [(x, y) for x, y in middles if canvas.tiles[y][x] == grass]
    if not marks:
        raise NoRoom("no patch of grass on ROUTE_1")
    canvas.mark = draw.pick(marks)
    people = [("MAN", "T_ROUTE_MAN"), ("KID", "T_ROUTE_KID")]
    place_walkers(canvas, draw.shuffled(people)[: draw.between(1, 2)], {*south_end, *north_end, canvas.mark})
    return canvas


def make_town_2(draw: Draw) -> Canvas:
    """Make TOWN_2: the centre among other houses, roads south and north."""
    canvas = bordered(draw, draw.between(18, 23), draw.between(17, 22))
    south_end = road_end(canvas, "ROUTE_1", draw.between(3, canvas.width - 5), north=False, length=draw.between(1, 4))
    north_end = road_end(canvas, "ROUTE_2", draw.between(3, canvas.width - 5), north=True, length=draw.between(1, 4))
    canvas.lock("ROUTE_2", "HEALED", "barrier")
    place_building(canvas, "CENTER")
    for _ in range(draw.between(1, 3)):
        width, height = draw.between(4, 6), draw.between(3, 4)
        x, y = canvas.find_room(width, height)
        house(canvas, x, y, width, height, door=0)
    shore = place_pond(canvas) if draw.chance(60) else None
    if draw.chance(75):
        lay_road(canvas, canvas.front("CENTER"), {draw.pick(south_end)})
    if draw.chance(75):
        lay_road(canvas, draw.pick(north_end), {draw.pick(south_end), canvas.front("CENTER")})
    place_sign_near(canvas, (south_end[0][0], canvas.height - 5), "T_SIGN_REED", spread=3)
    place_sign_near(canvas, canvas.front("CENTER"), "T_SIGN_CENTER")
    place_sign_near(canvas, (north_end[0][0], 2), "T_SIGN_REED_NORTH", spread=3)
    if shore:
        place_sign_near(canvas, shore, "T_SIGN_POND")
    scatter(canvas, share=9, ledges=25)
    place_flowers(canvas, draw.between(8, 20))
    avoid = {*south_end, *north_end, canvas.front("CENTER")}
    people = [("WOMAN", "T_REED_WOMAN"), ("MAN", "T_REED_MAN"), ("KID", "T_REED_KID")]
    place_walkers(canvas, draw.shuffled(people)[: draw.between(2, 3)], avoid)
    return canvas


def make_route_2(draw: Draw) -> Canvas:
    """Make ROUTE_2: the sign, the wall with two gaps far apart, the trainer before the gym's door."""
    width, height = draw.between(19, 25), draw.between(25, 29)
    canvas = bordered(draw, width, height)
    middle = draw.between(8, width - 10)
    # The wall's gaps are out of sight next to the sign: the screen shows 4 columns to the left and 5 to the right.
    wall = draw.between(13, height - 9)
    gaps = (draw.between(1, middle - 6), draw.between(middle + 7, width - 2))
    for x in range(1, width - 1):
        if x not in gaps:
            canvas.put(x, wall, "rock")
    for gap, event in zip(gaps, ("FORK_LEFT", "FORK_RIGHT"), strict=True):
        canvas.gate(gap, wall, event, "barrier")
        canvas.keep((gap, wall - 2), (gap, wall - 1), (gap, wall), (gap, wall + 1), (gap, wall + 2))
    sign = (middle, wall + draw.between(2, 3))
    canvas.put(*sign, "sign")
    canvas.sign(*sign, "T_SIGN_FORK")
    canvas.keep(*((sign[0] + dx, sign[1] + dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1)))
    south_end = road_end(canvas, "TOWN_2", middle + draw.between(-3, 2), north=False, length=draw.between(1, 3))
    # The gym, and the trainer, who watches the row that leads to its door.
    place_building(canvas, "GYM", area=(4, 1, width - 12, 2))
    canvas.lock("GYM", "TRAINER_BEATEN", "lab_door_shut")
    door_x, door_y = canvas.doors["GYM"].tiles[0]
    side, distance = draw.pick((-1, 1)), draw.between(2, 3)
    row = door_y + draw.between(2, 3)
    reach = distance + draw.between(1, 2)
    post = (door_x + side * distance, row)
    for i in range(-1, reach + 1):
        canvas.keep((post[0] - side * i, row))
    canvas.keep((post[0], row - 1), (post[0], row + 1))
    canvas.person(*post, "TRAINER", "T_TRAINER_ROUTE", LEFT if side > 0 else RIGHT, SIGHT, reach)
    place_sign_near(canvas, canvas.front("GYM"), "T_SIGN_GYM")
    scatter(canvas, share=8, ledges=30, area=(1, 1, width - 2, wall - 2))
    scatter(canvas, share=8, ledges=30, area=(1, wall + 2, width - 2, height - 2))
    if draw.chance(50):
        lay_road(canvas, canvas.front("GYM"), {(draw.pick(gaps), wall - 1)})
    place_flowers(canvas, draw.between(6, 14))
    place_grass(canvas, draw.between(2, 3), (2, door_y + 5, width - 3, wall - 2))
    place_grass(canvas, 1, (2, wall + 2, width - 3, height - 4))
    walkers = draw.shuffled([("MAN", "T_ROUTE_2_MAN"), ("ELDER", "T_ROUTE_2_MAN")])
    crossings = {(gap, wall + dy) for gap in gaps for dy in (-1, 0, 1)}
    sights = {(post[0] - side * i, row) for i in range(reach + 1)}
    avoid = {*south_end, canvas.front("GYM"), *crossings, *sights, sign}
    place_walkers(canvas, walkers[:1], avoid, (1, wall + 2, width - 2, height - 2))
    if draw.chance(50):
        place_walkers(canvas, walkers[1:], avoid, (1, door_y + 1, width - 2, wall - 2))
    return canvas
