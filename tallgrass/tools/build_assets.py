#!/usr/bin/env python3
"""Compile the game's art, maps, numbers and words into C arrays, one file per ROM bank.

    python3 tallgrass/tools/build_assets.py --out tallgrass/build/gen

Reads art/*.txt, art/metatiles.toml, maps/*.toml and data/*.toml; writes ids.h, art.c, pics.c, maps.c, text.c and
data.c. Only the standard library (Python 3.11 or newer) is needed, and the same sources always give the same bytes.
Everything that can be checked before the game runs is checked here: sizes, ids, line lengths, warps, reachability. A
mistake ends the build with one line that names the file and what is wrong.
"""

from __future__ import annotations

import argparse
import sys
from itertools import pairwise
from pathlib import Path

from asset_art import FONT_COUNT, UI_COUNT, Tileset, compile_compass, compile_mark, compile_sheet, compile_sprites, compile_title
from asset_files import (
    ROOT,
    AssetError,
    Bank,
    Header,
    byte,
    index_of,
    load_pictures,
    load_toml,
    padded,
    require,
    take,
    write_atomically,
)
from asset_maps import GameMap, check_maps

BANK_LIMIT = 16 * 1024
PIC_BYTES = 25 * 16
LINE_LENGTH, LINES_PER_PAGE = 18, 2
OBJECTIVE_LINE_LENGTH = 15
MAP_TABLE_LENGTH = 16
NOWHERE = 0xFF
TEXT_BUFFER = 768  # buffer[] in src/wram.h
NAME_LENGTH, STRING_LENGTH = 7, 8
PAGE_END, PLAYER_NAME, STRING = 0x0C, 0x01, 0x02


def compile_texts(path: Path) -> tuple[list[str], bytes, list[int]]:
    texts = load_toml(path)
    data, offsets = bytearray(b"\0"), [0]
    for name, text in texts.items():
        if not name.startswith("T_"):
            raise AssetError(f"{path}: {name}: the names of texts start with T_")
        offsets.append(len(data))
        pages = []
        for page in text.strip("\n").split("\n\n"):
            lines = page.split("\n")
            if not page or len(lines) > LINES_PER_PAGE:
                raise AssetError(f"{path}: {name}: a page has 1 to {LINES_PER_PAGE} lines: {page!r}")
            for line in lines:
                full = line.replace("{name}", "N" * NAME_LENGTH).replace("{mon}", "M" * STRING_LENGTH)
                if len(full) > LINE_LENGTH:
                    raise AssetError(f"{path}: {name}: {len(full)} characters, at most {LINE_LENGTH}: {line!r}")
            pages.append(page.replace("{name}", chr(PLAYER_NAME)).replace("{mon}", chr(STRING)))
        data += chr(PAGE_END).join(pages).encode("ascii") + b"\0"
    if len(offsets) > 256:
        raise AssetError(f"{path}: {len(offsets) - 1} texts; a script id is a byte")
    return list(texts), bytes(data), offsets


def compile_objectives(story: dict, text_names: list[str], path: Path) -> tuple[list[str], bytes, list[int], list[int], list[int]]:
    """Names, texts, their offsets, icons, and what the compass points at: two bytes each, map and script."""
    names, data, offsets, icons, targets = [], bytearray(), [], [], []
    for entry in story["objective"]:
        require(entry, "id icon text", f"{path}: objective {entry.get('id', '?')}")
        names.append(entry["id"])
        offsets.append(len(data))
        icons.append(index_of(story["icons"], entry["icon"], f"{path}: objective {entry['id']}"))
        if len(entry["text"]) != 2 or any(len(line) > OBJECTIVE_LINE_LENGTH for line in entry["text"]):
            raise AssetError(f"{path}: objective {entry['id']}: two lines of at most {OBJECTIVE_LINE_LENGTH} characters")
        data += "\n".join(entry["text"]).encode("ascii") + b"\0"
        where = f"{path}: objective {entry['id']}"
        targets.append(index_of(story["maps"], entry["map"], where) if "map" in entry else NOWHERE)
        targets.append(index_of(text_names, entry["script"], where) + 1 if "script" in entry else 0)
    return names, bytes(data), offsets, icons, targets


def first_steps(maps: list[GameMap], path: Path) -> list[int]:
    """For each map a row: the neighbouring map that leads to each map by the fewest warps (itself on the diagonal)."""
    doors = [sorted({warp[2] for warp in game_map.warps}) for game_map in maps]
    table = []
    for start in range(len(maps)):
        first = {start: start}
        queue = [start]
        for here in queue:
            for there in doors[here]:
                if there not in first:
                    first[there] = there if here == start else first[here]
                    queue.append(there)
        if len(first) != len(maps):
            raise AssetError(f"{path}: from {maps[start].name} one does not get to every map")
        table += [first[goal] for goal in range(len(maps))]
    return table


def compile_numbers(bank: Bank, header: Header, monsters: dict, story: dict, maps: list[GameMap], path: Path) -> None:
    require(monsters, "types beats move species encounters trainer trainer_moves", str(path))
    for kind, keys in (
        ("move", "id type power accuracy pp effect"),
        ("species", "id type hp attack defense speed catch_rate moves"),
        ("encounters", "id slots"),
        ("trainer", "id name shift above tough money"),
    ):
        for entry in monsters[kind]:
            require(entry, keys, f"{path}: {kind} {entry.get('id', '?')}")
    types = monsters["types"]
    moves = [move["id"] for move in monsters["move"]]
    species = [entry["id"] for entry in monsters["species"]]
    header.enumerate("types", "TYPE_", types)
    header.enumerate("moves", "MV_", moves, 1)
    header.enumerate("species", "SP_", species, 1)
    header.enumerate("items", "ITEM_", story["items"])
    header.enumerate("encounter tables", "ENC_", [table["id"] for table in monsters["encounters"]])
    header.enumerate("trainers", "TRAINER_", [trainer["id"] for trainer in monsters["trainer"]], 1)

    rows = bytearray()
    for entry in monsters["species"]:
        where = f"{path}: species {entry['id']}"
        known = [index_of(moves, move, where) + 1 for move in entry["moves"]]
        if not 1 <= len(known) <= 4:
            raise AssetError(f"{where}: 1 to 4 moves")
        row = [index_of(types, entry["type"], where)]
        row += [byte(entry[key], f"{where}: {key}") for key in ("hp", "attack", "defense", "speed", "catch_rate")]
        rows += bytes(row + known + [0] * (4 - len(known))).ljust(16, b"\0")
    bank.add("species_data", rows)

    rows = bytearray()
    for entry in monsters["move"]:
        where = f"{path}: move {entry['id']}"
        row = [index_of(types, entry["type"], where)]
        row += [byte(entry[key], f"{where}: {key}") for key in ("power", "accuracy", "pp", "effect")]
        rows += bytes(row).ljust(8, b"\0")
    bank.add("move_data", rows)

    def names(label: str, entries: list[str], size: int) -> None:
        bank.add(label, b"".join(padded(name, size, f"{path.parent}: {label}") for name in entries))
        header.define(label.upper().rstrip("S") + "_SIZE", size)

    header.section("bytes per name")
    names("species_names", [entry.get("name", entry["id"]) for entry in monsters["species"]], 9)
    names("move_names", [entry.get("name", entry["id"]) for entry in monsters["move"]], 7)
    names("type_names", types, 7)
    names("item_names", story["items"], 9)
    names("trainer_names", [trainer["name"] for trainer in monsters["trainer"]], 9)
    names("map_names", [game_map.title for game_map in maps], 13)

    rows = bytearray()
    for table in monsters["encounters"]:
        where = f"{path}: encounters {table['id']}"
        if len(table["slots"]) != 4 or sum(slot.get("weight", 0) for slot in table["slots"]) != 256:
            raise AssetError(f"{where}: four slots whose weights add up to 256")
        for slot in table["slots"]:
            require(slot, "species min max weight", where)
            if not 1 <= slot["min"] <= slot["max"] <= 100:
                raise AssetError(f"{where}: levels {slot['min']} to {slot['max']}")
            number = index_of(species, slot["species"], where) + 1
            rows += bytes((number, slot["min"], slot["max"], byte(slot["weight"], where)))
    bank.add("encounter_tables", rows)

    rows = bytearray()
    for trainer in monsters["trainer"]:
        where = f"{path}: trainer {trainer['id']}"
        if not 0 <= trainer["shift"] <= 2 or not len(trainer["above"]) == len(trainer["tough"]) == 3:
            raise AssetError(f"{where}: shift is 0 to 2, above and tough have a number for each of the three")
        row = [trainer["shift"], *trainer["above"], *trainer["tough"], trainer["money"]]
        rows += bytes(byte(value, where) for value in row)
    bank.add("trainer_data", rows)
    known = [index_of(moves, move, f"{path}: trainer_moves") + 1 for move in monsters["trainer_moves"]]
    bank.add("trainer_moves", known[:4] + [0] * (4 - len(known)))

    chart = [[8] * len(types) for _ in types]
    for winner, loser in monsters["beats"].items():
        attack, defend = index_of(types, winner, f"{path}: beats"), index_of(types, loser, f"{path}: beats")
        chart[attack][defend] = 16
        chart[defend][attack] = 4
    bank.add("type_chart", [value for row in chart for value in row])


def build(root: Path, out: Path) -> list[Bank]:
    """Compile everything below `root` into `out`; return the banks with their arrays (previews read them)."""
    story_path, monsters_path, text_path = (root / "data" / f"{name}.toml" for name in ("story", "monsters", "text"))
    story, monsters = load_toml(story_path), load_toml(monsters_path)
    require(story, "maps events sprites icons pictures items start heal objective", str(story_path))
    require(monsters, "species encounters", str(monsters_path))
    art, pics, maps_bank, text, data = (
        Bank(file, number) for file, number in (("art", 2), ("pics", 3), ("maps", 4), ("text", 5), ("data", 1))
    )
    header = Header()

    text_names, text_data, text_offsets = compile_texts(text_path)
    objectives, objective_data, objective_offsets, objective_icons, objective_targets = compile_objectives(
        story, text_names, story_path
    )
    header.enumerate("maps", "MAP_", story["maps"])
    header.enumerate("events", "EV_", story["events"], 1)
    header.enumerate("objectives", "OBJ_", objectives)
    header.section("texts, which are scripts as well")
    for number, name in enumerate(text_names, 1):
        header.define(name, number)
    header.define("T_COUNT", len(text_names))
    longest = max(after - at for at, after in pairwise([*text_offsets, len(text_data)]))
    if longest > TEXT_BUFFER:
        raise AssetError(f"{text_path}: a text of {longest} bytes; at most {TEXT_BUFFER} fit")
    header.define("TEXT_LONGEST", longest)
    header.enumerate("overworld sprites", "SPR_", story["sprites"])
    header.enumerate("objective icons", "ICON_", story["icons"])

    # Art
    folder = root / "art"
    font = compile_sheet(folder / "font.txt", FONT_COUNT)
    art.add("font_tiles", font)
    art.add("ui_tiles", compile_sheet(folder / "ui.txt", UI_COUNT))
    metatiles = load_toml(folder / "metatiles.toml")
    tilesets = [Tileset(name, metatiles[name], folder) for name in ("outdoor", "indoor")]
    header.section("sizes in bytes")
    for tileset in tilesets:
        tiles = b"".join(tileset.tiles)
        art.add(f"{tileset.name}_tiles", tiles)
        art.add(f"{tileset.name}_meta", tileset.meta)
        header.define(f"{tileset.name.upper()}_TILES_LEN", len(tiles))
    sprites, sprite_offsets = compile_sprites(folder, story["sprites"])
    art.add("sprite_tiles", sprites)
    art.add("sprite_offset", sprite_offsets, "uint16_t")
    art.add("mark_tiles", compile_mark(folder))
    header.section("sprites: 0 is see-through, 1 white, 2 dark, 3 black, so OBP0 and OBP1 must hold this")
    header.define("SPRITE_PALETTE", "0xE0")
    icons_path = folder / "icons.txt"
    icons = load_pictures(icons_path)
    art.add("icon_tiles", b"".join(tile for name in story["icons"] for tile in take(icons, name, icons_path, 16, 16)))
    art.add("compass_tiles", compile_compass(folder / "compass.txt"))
    title, title_map = compile_title(folder, font)
    art.add("title_tiles", title)
    art.add("title_map", title_map)
    header.define("TITLE_TILES_LEN", len(title))

    # Pictures of monsters and people, 5x5 tiles
    species = [entry["id"] for entry in monsters["species"]]
    pics_path = folder / "pics.txt"
    pictures = load_pictures(pics_path)
    names = [f"{name}_{side}" for name in species for side in ("front", "back")] + story["pictures"]
    pics.add("pics", b"".join(tile for name in names for tile in take(pictures, name, pics_path, 40, 40)))
    header.section("pictures: 25 tiles each, at pics + index * PIC_BYTES")
    header.define("PIC_BYTES", PIC_BYTES)
    header.define("PIC_FRONT(species)", "(((species) - 1) * 2)")
    header.define("PIC_BACK(species)", "(((species) - 1) * 2 + 1)")
    for number, name in enumerate(story["pictures"], 2 * len(species)):
        header.define("PIC_" + name, number)

    # Maps
    known = {
        "maps": story["maps"],
        "events": story["events"],
        "sprites": story["sprites"],
        "texts": text_names,
        "encounters": [table["id"] for table in monsters["encounters"]],
    }
    maps = [
        GameMap(root / "maps" / f"{name.lower()}.toml", number, name, known, tilesets) for number, name in enumerate(story["maps"])
    ]
    header.section("where a game starts, and where one wakes up after a lost battle")
    places = []
    for key in ("start", "heal"):
        place = story[key]
        require(place, "map at", f"{story_path}: {key}")
        number, (x, y) = index_of(story["maps"], place["map"], f"{story_path}: {key}"), place["at"]
        places.append((number, x, y))
        for suffix, value in zip(("MAP", "X", "Y"), places[-1], strict=True):
            header.define(f"{key.upper()}_{suffix}", value)
    # Who has asked the nurse wakes up below her.
    nurse = index_of(text_names, "T_NURSE", str(text_path)) + 1
    places += [(m.number, person[0], person[1] + 1) for m in maps for person in m.people if person[6] == nurse]
    check_maps(maps, places)
    map_data, map_offsets = bytearray(), [0] * MAP_TABLE_LENGTH
    for game_map in maps:
        map_offsets[game_map.number] = 2 * MAP_TABLE_LENGTH + len(map_data)
        map_data += game_map.blob()
    # The table stays first in its bank: it counts from there, and pokemon_env reads the maps from the ROM's file.
    maps_bank.add("map_offset", map_offsets, "uint16_t")
    maps_bank.add("map_data", map_data)

    # Words and numbers
    text.add("text_data", text_data)
    text.add("text_offset", text_offsets, "uint16_t")
    text.add("objective_text", objective_data)
    text.add("objective_offset", objective_offsets, "uint16_t")
    text.add("objective_icon", objective_icons)
    data.add("objective_target", objective_targets)
    data.add("first_step", first_steps(maps, story_path))
    compile_numbers(data, header, monsters, story, maps, monsters_path)

    banks = [art, pics, maps_bank, text, data]
    for bank in banks:
        if bank.size > BANK_LIMIT:
            raise AssetError(f"{bank.file}.c needs {bank.size} bytes and a bank has {BANK_LIMIT}: take something out")
    out.mkdir(parents=True, exist_ok=True)
    lines = [
        "/* Made by tools/build_assets.py: change the sources in art/, maps/ or data/ instead. */",
        "#ifndef IDS_H",
        "#define IDS_H",
        "#include <stdint.h>",
        *header.lines,
        "",
        "/* the arrays, by file and bank */",
    ]
    for bank in banks:
        write_atomically(out / f"{bank.file}.c", bank.source())
        lines += [f"/* {bank.file}.c, bank {bank.number} */", *bank.externs()]
    write_atomically(out / "ids.h", "\n".join([*lines, "", "#endif"]) + "\n")
    return banks


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "gen", help="folder for the C files")
    parser.add_argument("--root", type=Path, default=ROOT, help="folder with art/, maps/ and data/")
    arguments = parser.parse_args()
    try:
        banks = build(arguments.root, arguments.out)
    except AssetError as error:
        print(f"build_assets: {error}", file=sys.stderr)
        return 1
    for bank in banks:
        print(f"{bank.file}.c: bank {bank.number}, {bank.size} of {BANK_LIMIT} bytes")
    for name, _, values in banks[0].arrays:
        print(f"  {name}: {len(values)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
