"""Rooms: walls, stairs, mats, furniture, and who is at home."""

from __future__ import annotations

from pokemon_env.games.tallgrass.worlds.board import Board
from pokemon_env.games.tallgrass.worlds.canvas import Canvas, Door, NoRoom, Tile
from pokemon_env.games.tallgrass.worlds.draw import Draw
from pokemon_env.games.tallgrass.worlds.story import DOWN, EVENT_ID, LEFT, LOOK, RIGHT, SIGHT, STILL, UP, WANDER


def walled(draw: Draw, width: int, height: int, floor: str = "floor") -> Canvas:
    """Make a room with its wall at the top, some windows and pictures in it."""
    canvas = Canvas(draw, width, height, indoor=True, floor=floor)
    for x in range(width):
        canvas.put(x, 0, draw.pick(("wall", "wall", "wall", "window", "picture")))
    return canvas


def front_wall(canvas: Canvas, to: str) -> None:
    """Build the wall at the bottom, with a mat of two tiles that leads to the map `to`."""
    bottom = canvas.height - 1
    for x in range(canvas.width):
        canvas.put(x, bottom, "front_wall")
    left = canvas.draw.between(1, canvas.width - 3)
    for x in (left, left + 1):
        canvas.put(x, bottom, "mat")
        canvas.keep((x, bottom - 1), (x, bottom - 2))
    canvas.doors[to] = Door([(left, bottom), (left + 1, bottom)], [(left + canvas.draw.below(2), bottom - 1)], UP)


def stairs(canvas: Canvas, to: str, down: bool, lowest: int) -> None:
    """Place stairs in a side wall, in one of the rows 1 to `lowest`, with room to arrive next to them."""
    draw = canvas.draw
    for _ in range(20):
        right = draw.chance(50)
        x, y = (canvas.width - 1 if right else 0), draw.between(1, lowest)
        beside = (x - 1, y) if right else (x + 1, y)
        if (x, y) not in canvas.kept and canvas.walkable(x, y) and canvas.walkable(*beside):
            canvas.put(x, y, "stairs_down" if down else "stairs_up")
            inward = -1 if right else 1
            canvas.keep(beside, (beside[0] + inward, y))
            canvas.doors[to] = Door([(x, y)], [beside], LEFT if right else RIGHT)
            return
    raise NoRoom("no place for stairs")


def furnish(canvas: Canvas, lowest: int, pieces: list[tuple[str, str | None]]) -> None:
    """Place pieces along the walls (rows 1 to `lowest`), each with its text, if any; pieces without a place are left out."""
    draw = canvas.draw
    sides = [(x, y) for x in (0, canvas.width - 1) for y in range(1, lowest + 1)]
    ends = [(x, y) for x in range(1, canvas.width - 1) for y in (1, lowest)]
    spots = draw.shuffled(sides + ends)
    for piece, script in pieces:
        for _ in range(len(spots)):
            x, y = spots.pop()
            if (x, y) in canvas.kept or not canvas.walkable(x, y):
                continue
            inward = (x, 2) if y == 1 else (x, lowest - 1) if y == lowest else (1 if x == 0 else canvas.width - 2, y)
            if not canvas.walkable(*inward):
                continue
            canvas.put(x, y, piece)
            canvas.keep(inward)
            if script is not None:
                canvas.sign(x, y, script)
            break


def lay_table(canvas: Canvas, script: str | None) -> None:
    """Place a table of two tiles with stools, free on all sides."""
    x, y = canvas.find_room(2, 1)
    canvas.put_rows(x, y, [["table_left", "table_right"]])
    if script is not None:
        canvas.sign(x, y, script)
    for spot in canvas.draw.shuffled([(x - 1, y), (x + 2, y), (x, y + 1), (x + 1, y + 1)])[: canvas.draw.between(1, 2)]:
        if canvas.walkable(*spot) and spot not in canvas.kept:
            canvas.put(*spot, "stool")


def lay_rug(canvas: Canvas) -> None:
    """Place a rug where the floor is bare; none if it is not."""
    draw = canvas.draw
    width = draw.between(2, 3)
    x, y = draw.between(0, canvas.width - width), draw.between(2, canvas.height - 3)
    if any(canvas.tiles[y + dy][x + dx] != canvas.floor for dx in range(width) for dy in (0, 1)):
        return
    middle = [["rug_n"], ["rug_s"]] if width == 3 else [[], []]
    canvas.put_rows(x, y, [["rug_nw", *middle[0], "rug_ne"], ["rug_sw", *middle[1], "rug_se"]])


def place_bed(canvas: Canvas, lowest: int) -> Tile:
    """Place a bed of two tiles; return its pillow, on which the player wakes up."""
    draw = canvas.draw
    for _ in range(40):
        x, y = draw.between(0, canvas.width - 1), draw.between(1, lowest - 1)
        if (x, y) in canvas.kept or (x, y + 1) in canvas.kept or not canvas.walkable(x, y) or not canvas.walkable(x, y + 1):
            continue
        sides = [(x - 1, y), (x + 1, y)]
        if not all(canvas.walkable(*side) for side in sides if canvas.inside(*side)):
            continue
        canvas.put(x, y, "bed_pillow")
        canvas.put(x, y + 1, "bed_foot")
        canvas.keep((x, y), *sides)
        return x, y
    raise NoRoom("no place for a bed")


def place_walker(canvas: Canvas, sprite: str, script: str, avoid: set[Tile], reach: int) -> None:
    """Place a person who wanders within `reach` tiles of home, never onto the tiles to avoid."""
    draw = canvas.draw
    for _ in range(60):
        x, y = draw.between(1, canvas.width - 2), draw.between(2, canvas.height - 2)
        if not canvas.walkable(x, y) or (x, y) in canvas.kept:
            continue
        if any(abs(x - ax) <= reach and abs(y - ay) <= reach for ax, ay in avoid):
            continue
        if any(max(abs(x - other.x), abs(y - other.y)) <= reach + other.reach + 1 for other in canvas.people):
            continue
        canvas.person(x, y, sprite, script, draw.pick((DOWN, UP, LEFT, RIGHT)), WANDER, reach)
        return
    raise NoRoom(f"no place for {sprite} in a room of {canvas.width}x{canvas.height}")


def place_standing(canvas: Canvas, sprite: str, script: str, movement: int, rows: tuple[int, int], until: str = "") -> None:
    """Place a person who stands still, free on all sides."""
    x, y = canvas.find_room(1, 1, area=(1, rows[0], canvas.width - 2, rows[1]))
    canvas.person(x, y, sprite, script, canvas.draw.pick((DOWN, LEFT, RIGHT)), movement, until=until)


_ALL_EVENTS = frozenset(EVENT_ID.values())


def require_passable(canvas: Canvas, start: Tile) -> None:
    """Raise NoRoom unless the whole floor is connected, around everybody, wherever those who wander stand.

    People who leave later count as standing there, and gates as open.
    """
    board = Board(canvas.map("void"), _ALL_EVENTS)
    fixed = board.mask((person.x, person.y) for person in canvas.people if person.movement != WANDER)
    whole = board.reach(board.bit(*start), fixed, hops=False) & ~board.warps
    if whole != board.land & ~fixed:
        raise NoRoom("a part of the room is cut off")
    for person in canvas.people:
        if person.movement == WANDER and board.cut_by(person, whole) is not None:
            raise NoRoom("somebody can stand in the way")


def make_bedroom(draw: Draw) -> tuple[Canvas, Tile]:
    """Make BEDROOM, and return the bed's pillow, too: the clock, the stairs behind the toy box."""
    canvas = walled(draw, draw.between(7, 10), draw.between(6, 9))
    lowest = canvas.height - 1
    stairs(canvas, "HOUSE_1F", down=True, lowest=lowest)
    canvas.lock("HOUSE_1F", "CLOCK_SET", "toy_box")
    clock = draw.below(canvas.width)
    while not canvas.walkable(clock, 1):
        clock = draw.below(canvas.width)
    canvas.put(clock, 0, "clock")
    canvas.sign(clock, 0, "T_CLOCK")
    canvas.keep((clock, 1), (clock, 2))
    bed = place_bed(canvas, lowest)
    pieces = draw.shuffled(
        [("shelf", "T_SHELF"), ("tv", "T_TV"), ("table", None), ("plant", None), ("plant", None), ("stool", None)]
    )
    furnish(canvas, lowest, pieces[: draw.between(3, 6)])
    if draw.chance(50):
        x, y = canvas.find_room(1, 1)
        canvas.put(x, y, draw.pick(("table", "stool", "plant")))
    lay_rug(canvas)
    require_passable(canvas, bed)
    return canvas, bed


def make_house(draw: Draw) -> tuple[Canvas, Tile]:
    """Make HOUSE_1F, and return the place to wake up after a lost battle, too: stairs, kitchen, table, Mom, the mat."""
    canvas = walled(draw, draw.between(8, 11), draw.between(7, 10))
    lowest = canvas.height - 2
    front_wall(canvas, "TOWN")
    canvas.lock("TOWN", "TALKED_MOM", "shut_door")
    stairs(canvas, "BEDROOM", down=False, lowest=lowest)
    kitchen = [x for x in range(canvas.width - 1) if canvas.room(x, 1, 2, 1, 0) and canvas.walkable(x, 2)]
    if not kitchen:
        raise NoRoom("no place for the kitchen")
    x = draw.pick(kitchen)
    canvas.put_rows(x, 1, [["fridge", "stove"]])
    canvas.sign(x, 1, "T_FRIDGE")
    canvas.keep((x, 2), (x + 1, 2))
    lay_table(canvas, "T_TABLE")
    pieces = draw.shuffled([("shelf", "T_SHELF"), ("tv", "T_TV"), ("plant", None), ("plant", None), ("shelf", None)])
    furnish(canvas, lowest, pieces[: draw.between(3, 5)])
    heal = canvas.find_room(1, 1, margin=0, area=(1, 2, canvas.width - 2, lowest))
    canvas.keep(heal)
    avoid = {heal, canvas.front("TOWN"), canvas.front("BEDROOM")}
    place_walker(canvas, "MOM", "T_MOM", avoid, reach=draw.between(1, 2))
    lay_rug(canvas)
    require_passable(canvas, heal)
    return canvas, heal


def make_rival_house(draw: Draw) -> Canvas:
    """Make RIVAL_1F: the mat, the stairs, Bram's mother."""
    canvas = walled(draw, draw.between(8, 11), draw.between(7, 10))
    lowest = canvas.height - 2
    front_wall(canvas, "TOWN")
    stairs(canvas, "RIVAL_2F", down=False, lowest=lowest)
    lay_table(canvas, None)
    pieces = draw.shuffled([("shelf", "T_SHELF"), ("tv", "T_TV"), ("plant", None), ("plant", None), ("shelf", None)])
    furnish(canvas, lowest, pieces[: draw.between(3, 5)])
    place_walker(canvas, "WOMAN", "T_RIVAL_MOM", {canvas.front("TOWN"), canvas.front("RIVAL_2F")}, reach=draw.between(1, 2))
    lay_rug(canvas)
    require_passable(canvas, canvas.front("TOWN"))
    return canvas


def make_rival_bedroom(draw: Draw) -> Canvas:
    """Make RIVAL_2F: the stairs, and Bram among furniture."""
    canvas = walled(draw, draw.between(7, 10), draw.between(6, 9))
    lowest = canvas.height - 1
    stairs(canvas, "RIVAL_1F", down=True, lowest=lowest)
    place_bed(canvas, lowest)
    place_standing(canvas, "RIVAL", "T_RIVAL", LOOK, (2, lowest), until="EXIT_RIVAL_HOUSE")
    pieces = draw.shuffled(
        [("shelf", "T_SHELF"), ("toy_box", "T_TOYS"), ("table", None), ("plant", None), ("stool", None), ("shelf", None)]
    )
    furnish(canvas, lowest, pieces[: draw.between(3, 6)])
    lay_rug(canvas)
    require_passable(canvas, canvas.front("RIVAL_1F"))
    return canvas


def make_lab(draw: Draw) -> Canvas:
    """Make LAB: machines and shelves, the table with three balls in any order, PROF, the rival, two helpers, the mat."""
    canvas = walled(draw, draw.between(9, 12), draw.between(9, 11), floor="lab_floor")
    lowest = canvas.height - 2
    front_wall(canvas, "TOWN")
    canvas.lock("TOWN", "RIVAL_BEATEN", "shut_door")
    # The back wall: machines on one side, shelves on the other.
    pieces = draw.shuffled([("machine", "T_MACHINE"), ("shelf", "T_LAB_SHELF")])
    counts = (draw.between(1, 3), draw.between(1, 4))
    for (piece, script), count, right in zip(pieces, counts, (False, True), strict=True):
        for i in range(count):
            x = canvas.width - 1 - i if right else i
            canvas.put(x, 1, piece)
            canvas.keep((x, 2))
            if i == 0:
                canvas.sign(x, 1, script)
    across = draw.chance(70)
    size = (3, 1) if across else (1, 3)
    x, y = canvas.find_room(*size, area=(1, 2, canvas.width - 2, lowest - (2 if across else 4)))
    places = [(x + i, y) if across else (x, y + i) for i in range(3)]
    balls = draw.shuffled(["LEAF", "EMBER", "WAVE"])
    for (ball_x, ball_y), kind in zip(places, balls, strict=True):
        canvas.put(ball_x, ball_y, "lab_table")
        canvas.person(ball_x, ball_y, "BALL", f"T_BALL_{kind}", DOWN, STILL, until="GOT_STARTER")
    place_standing(canvas, "PROF", "T_PROF", STILL, (2, lowest - 1))
    block = {(person.x, person.y) for person in canvas.people[-1:]}
    for _ in range(40):
        rival = canvas.find_room(1, 1, area=(1, 2, canvas.width - 2, lowest))
        if all(max(abs(rival[0] - bx), abs(rival[1] - by)) >= 2 for bx, by in block):
            break
    canvas.person(*rival, "RIVAL", "T_RIVAL_LAB", draw.pick((DOWN, LEFT, RIGHT)), STILL, until="EXIT_LAB")
    furnish(
        canvas,
        lowest,
        draw.shuffled([("shelf", "T_LAB_SHELF"), ("plant", None), ("plant", None), ("machine", None)])[: draw.between(1, 4)],
    )
    for sprite, script in draw.shuffled([("MAN", "T_AIDE_1"), ("WOMAN", "T_AIDE_2")])[: draw.between(1, 2)]:
        place_walker(canvas, sprite, script, {canvas.front("TOWN")}, reach=1)
    require_passable(canvas, canvas.front("TOWN"))
    return canvas


def make_center(draw: Draw) -> Canvas:
    """Make CENTER: the nurse between the parts of her counter, guests, the mat."""
    canvas = walled(draw, draw.between(8, 11), draw.between(8, 10))
    lowest = canvas.height - 2
    front_wall(canvas, "TOWN_2")
    desk = draw.between(1, canvas.width - 2)
    for x in range(canvas.width):
        canvas.put(x, 1, draw.pick(("shelf", "plant", "machine", "healer")))
        if x != desk:
            canvas.put(x, 2, "counter")
    canvas.put(desk, 1, "healer")
    canvas.person(desk, 2, "NURSE", "T_NURSE", DOWN)
    canvas.keep((desk, 3), (desk, 4), (desk - 1, 3), (desk + 1, 3))
    if draw.chance(60):
        lay_table(canvas, "T_CENTER_TABLE")
    pieces = draw.shuffled([("plant", None), ("plant", None), ("shelf", "T_SHELF"), ("tv", "T_TV"), ("stool", None)])
    furnish(canvas, lowest, pieces[: draw.between(2, 5)])
    avoid = {(desk, 3), canvas.front("TOWN_2")}
    place_walker(canvas, draw.pick(("ELDER", "WOMAN", "MAN")), "T_CENTER_ELDER", avoid, reach=1)
    lay_rug(canvas)
    require_passable(canvas, canvas.front("TOWN_2"))
    return canvas


def make_gym(draw: Draw) -> Canvas:
    """Make GYM: walls across the hall with gaps, some of them into dead ends; trainer, gate, leader, and a guide at the mat.

    From below one wall everything up to the next one is in view: a dead end is seen before a gap has to be chosen.
    """
    width = draw.between(11, 13)
    between = draw.between(2, 3)  # bands between the leader's and the entrance's
    heights = [3, *(draw.between(2, 3) for _ in range(between + 1))]
    canvas = walled(draw, width, sum(heights) + len(heights) + 1, floor="gym_floor")
    for y in range(1, canvas.height):
        canvas.put(0, y, "gym_wall")
        canvas.put(width - 1, y, "gym_wall")
    front_wall(canvas, "ROUTE_2")
    tops = [1 + sum(heights[:number]) + number for number in range(len(heights))]
    walls = [top + height for top, height in zip(tops, heights, strict=True)][:-1]
    for wall in walls:
        for x in range(1, width - 1):
            canvas.put(x, wall, "gym_wall")
    gap = draw.between(2, width - 3)
    _open_wall(canvas, gap, walls[0])
    canvas.gate(gap, walls[0], "GYM_TRAINER_BEATEN", "shut_door")
    canvas.person(draw.between(2, width - 3), 2, "LEADER", "T_LEADER", DOWN)
    # The trainer watches the row below the gate from its end: the gate cannot be reached unseen.
    left = gap >= width // 2
    post = 1 if left else width - 2
    canvas.person(post, tops[1], "TRAINER", "T_TRAINER_GYM", RIGHT if left else LEFT, SIGHT, abs(gap - post) + 1)
    canvas.keep(*((x, tops[1]) for x in range(1, width - 1)))
    for number in range(1, between + 1):
        columns = [x for x in range(1, width - 1) if x != post or number > 1]
        if number > 1 and draw.chance(65):
            # A wall along this band splits it: on one side the passage, on the other a dead end.
            split = draw.pick([x for x in range(3, width - 3) if x != gap])
            for y in range(tops[number], tops[number] + heights[number]):
                canvas.put(split, y, "gym_wall")
            _open_wall(canvas, draw.pick([x for x in columns if (x < split) != (gap < split) and x != split]), walls[number])
            columns = [x for x in columns if (x < split) == (gap < split) and x != split]
        gap = draw.pick([x for x in columns if abs(x - gap) >= 3] or columns)
        _open_wall(canvas, gap, walls[number])
    entrance_x, entrance_y = canvas.front("ROUTE_2")
    _place_statues(canvas, [1, canvas.height - 2])
    spots = [(entrance_x + dx, entrance_y + dy) for dx in (-4, -3, -2, 2, 3, 4) for dy in (-1, 0)]
    spots = [spot for spot in spots if canvas.walkable(*spot) and spot not in canvas.kept and spot[1] >= tops[-1]]
    if not spots:
        raise NoRoom("no place for the guide")
    canvas.person(*draw.pick(spots), "ELDER", "T_GUIDE", draw.pick((DOWN, LEFT, RIGHT)), draw.pick((STILL, LOOK)))
    require_passable(canvas, (entrance_x, entrance_y))
    return canvas


def _open_wall(canvas: Canvas, x: int, y: int) -> None:
    """Open a gap in a wall that runs across, with both sides of it kept free."""
    canvas.put(x, y, "gym_floor")
    canvas.keep((x, y - 1), (x, y), (x, y + 1))


def _place_statues(canvas: Canvas, rows: list[int]) -> None:
    for y in rows:
        for x in (1, canvas.width - 2):
            if canvas.draw.chance(60) and canvas.walkable(x, y) and (x, y) not in canvas.kept:
                canvas.put(x, y, "statue")
                canvas.sign(x, y, "T_STATUE")
