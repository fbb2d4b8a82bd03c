/* Maps, the scrolling picture, people, steps, warps. One operation per statement (tallgrass/README.md).

   The background map is a ring of 16x16 metatiles; the one at map (x, y) is drawn at (x % 16, y % 16), so a step only
   has to draw the row or column that comes into sight. The player stands at screen pixel (64, 64). */
#include "overworld.h"
#include "battle.h"
#include "ids.h"
#include "screens.h"
#include "story.h"
#include "system.h"
#include "ui.h"

#define NO_MOVE 0xFF
#define STEP_FRAMES 8
#define IDLE_FRAMES 64 /* people go for a walk when nobody touches a button for that long */

#define FIRST_GRASS 0x20
#define FIRST_LEDGE 0x28
#define FIRST_WARP 0x30
#define FIRST_SOLID 0x40

static uint8_t move_of[10]; /* direction each person walks in during this step, or NO_MOVE */
static uint8_t step_offset; /* pixels walked in this step */
static uint8_t player_moves;
static uint8_t player_speed; /* pixels a frame: 2 walking, 4 hopping */
static uint16_t blob;        /* offset of the map in map_data */

static const int8_t direction_x[4] = {0, 0, -1, 1};
static const int8_t direction_y[4] = {1, -1, 0, 0};

static uint8_t metatile_at(uint8_t x, uint8_t y) {
    uint16_t place;
    uint16_t column = x;
    uint16_t width = map_w;
    if (x >= map_w) return map_border;
    if (y >= map_h) return map_border;
    place = y;
    place = place * width;
    place = place + column;
    return layout[place];
}

static void metatile_draw(uint8_t x, uint8_t y) {
    uint8_t id = metatile_at(x, y);
    uint16_t entry = id;
    uint16_t place;
    uint16_t column;
    const uint8_t *tiles;
    uint8_t *target;
    uint8_t ring = y & 15;
    entry = entry << 2;
    tiles = metatiles + entry;
    place = ring;
    place = place << 6;
    ring = x & 15;
    column = ring;
    column = column << 1;
    place = place + column;
    target = BG_MAP + place;
    video_put(target, tiles[0]);
    target++;
    video_put(target, tiles[1]);
    target += 31;
    video_put(target, tiles[2]);
    target++;
    video_put(target, tiles[3]);
}

static void row_draw(uint8_t y) {
    uint8_t x = player_x - 5;
    uint8_t i;
    for (i = 0; i < 12; i++) {
        metatile_draw(x, y);
        x++;
    }
}

static void column_draw(uint8_t x) {
    uint8_t y = player_y - 5;
    uint8_t i;
    for (i = 0; i < 11; i++) {
        metatile_draw(x, y);
        y++;
    }
}

/* ---- sprites ---- */

static uint8_t oam_next;

static void sprite_put(uint8_t x, uint8_t y, uint8_t tile, uint8_t mirrored) {
    /* x, y: screen pixel of the top left corner. Two 8x16 objects side by side. */
    uint8_t left = tile;
    uint8_t right = tile + 2;
    uint8_t flags = 0;
    uint8_t bottom = y + 16;
    uint8_t *object = oam + oam_next;
    if (bottom > window_y) return;
    if (oam_next > 152) return;
    if (mirrored) {
        flags = 0x20;
        left = tile + 2;
        right = tile;
    }
    bottom = y + 16;
    x = x + 8;
    object[0] = bottom;
    object[1] = x;
    object[2] = left;
    object[3] = flags;
    x = x + 8;
    object[4] = bottom;
    object[5] = x;
    object[6] = right;
    object[7] = flags;
    oam_next += 8;
}

static uint8_t frame_tile(uint8_t toward) {
    if (toward == DIR_DOWN) return 0;
    if (toward == DIR_UP) return 4;
    return 8;
}

void sprites_draw(void) {
    uint8_t i;
    uint8_t tile;
    uint8_t mirrored = 0;
    uint8_t half = step_offset & 8;
    Person *person = people;
    hide_sprites();
    oam_next = 0;
    tile = frame_tile(facing);
    if (player_moves) {
        if (half) tile += 12;
    }
    if (facing == DIR_RIGHT) mirrored = 1;
    sprite_put(64, 64, tile, mirrored);
    for (i = 0; i < n_people; i++) {
        uint8_t dx;
        uint8_t dy;
        uint8_t px;
        uint8_t py;
        uint8_t toward;
        if (person->visible) {
            /* Screen place relative to the player, in tiles; the walk's pixels are taken off below. */
            dx = person->x - player_x;
            dx = dx + 4;
            dy = person->y - player_y;
            dy = dy + 4;
            if (dx < 12 || dx == 255) {
                if (dy < 11 || dy == 255) {
                    px = dx << 4;
                    py = dy << 4;
                    toward = move_of[i];
                    if (step_offset) {
                        uint8_t rest = 16 - step_offset;
                        if (toward == DIR_DOWN) py -= rest;
                        if (toward == DIR_UP) py += rest;
                        if (toward == DIR_LEFT) px += rest;
                        if (toward == DIR_RIGHT) px -= rest;
                        if (player_moves) {
                            if (player_speed == 4) rest = rest << 1;
                            if (facing == DIR_DOWN) py += rest;
                            if (facing == DIR_UP) py -= rest;
                            if (facing == DIR_LEFT) px -= rest;
                            if (facing == DIR_RIGHT) px += rest;
                        }
                    }
                    tile = frame_tile(person->facing);
                    tile = tile + person->tile;
                    mirrored = 0;
                    if (person->facing == DIR_RIGHT) mirrored = 1;
                    if (px < 160 || px > 240) {
                        if (py < 128 || py > 240) sprite_put(px, py, tile, mirrored);
                    }
                }
            }
        }
        person++;
    }
}

/* 8x16 objects want top and bottom next to each other: tiles TL TR BL BR become TL BL TR BR. */
static void sprite_load(uint8_t kind, uint8_t tile, uint8_t tiles) {
    uint16_t place = kind;
    const uint8_t *source;
    uint8_t *target;
    uint8_t i;
    place = place << 1;
    copy_from(BANK_ART, (const uint8_t *)sprite_offset + place, buffer, 2);
    place = buffer[1];
    place = place << 8;
    place = place | buffer[0];
    source = sprite_tiles + place;
    place = tile;
    place = place << 4;
    target = SPRITE_TILES + place;
    for (i = 0; i < tiles; i += 4) {
        copy_to_video(BANK_ART, source, target, 16);
        copy_to_video(BANK_ART, source + 32, target + 16, 16);
        copy_to_video(BANK_ART, source + 16, target + 32, 16);
        copy_to_video(BANK_ART, source + 48, target + 48, 16);
        source += 64;
        target += 64;
    }
}

/* ---- maps ---- */

static void gates_apply(uint8_t draw) {
    uint8_t i;
    Gate *gate = gates;
    for (i = 0; i < n_gates; i++) {
        uint16_t place = gate->y;
        uint16_t width = map_w;
        uint16_t column = gate->x;
        uint8_t wanted = gate->closed;
        uint16_t source;
        place = place * width;
        place = place + column;
        if (event_is_set(gate->event)) {
            source = blob + 10;
            source = source + place;
            copy_from(BANK_MAPS, map_data + source, buffer, 1);
            wanted = buffer[0];
        }
        if (layout[place] != wanted) {
            layout[place] = wanted;
            if (draw) metatile_draw(gate->x, gate->y);
        }
        gate++;
    }
}

static void people_refresh(void) {
    uint8_t i;
    uint8_t event;
    uint8_t set;
    Person *person = people;
    for (i = 0; i < n_people; i++) {
        event = person->flag;
        if (event == 0) {
            person->visible = 1;
        } else {
            set = event & 0x7F;
            set = event_is_set(set);
            if (event & 0x80) set = set ^ 1;
            person->visible = set;
        }
        person++;
    }
}

/* An event has changed: open gates, let people come and go, tell the new objective. */
void map_refresh(void) {
    if (mode != MODE_OVERWORLD) return;
    gates_apply(1);
    people_refresh();
    story_objective();
    strip_draw();
    sprites_draw();
}

static void map_load(uint8_t id) {
    uint16_t place = id;
    uint16_t size;
    uint16_t height;
    uint8_t i;
    uint8_t k;
    uint8_t next_tile;
    const uint8_t *source;
    Person *person;
    map = id;
    place = place << 1;
    copy_from(BANK_MAPS, (const uint8_t *)map_offset + place, buffer, 2);
    blob = buffer[1];
    blob = blob << 8;
    blob = blob | buffer[0];
    source = map_data + blob;
    copy_from(BANK_MAPS, source, &map_w, 10);
    source += 10;
    size = map_w;
    height = map_h;
    size = size * height;
    copy_from(BANK_MAPS, source, layout, size);
    source += size;
    size = n_warps;
    size = size * 6;
    copy_from(BANK_MAPS, source, (uint8_t *)warps, size);
    source += size;
    size = n_people;
    size = size << 3;
    copy_from(BANK_MAPS, source, buffer, size);
    source += size;
    person = people;
    place = 0;
    for (i = 0; i < n_people; i++) {
        const uint8_t *entry = buffer + place;
        person->x = entry[0];
        person->y = entry[1];
        person->sprite = entry[2];
        person->facing = entry[3];
        person->movement = entry[4];
        person->range = entry[5];
        person->script = entry[6];
        person->flag = entry[7];
        person->home_x = person->x;
        person->home_y = person->y;
        move_of[i] = NO_MOVE;
        person++;
        place += 8;
    }
    size = n_signs;
    size = size * 3;
    copy_from(BANK_MAPS, source, (uint8_t *)signs, size);
    source += size;
    size = n_gates;
    size = size << 2;
    copy_from(BANK_MAPS, source, (uint8_t *)gates, size);
    gates_apply(0);
    people_refresh();
    /* Each kind of person has its tiles once. */
    next_tile = 24;
    person = people;
    for (i = 0; i < n_people; i++) {
        Person *other = people;
        uint8_t found = 0;
        for (k = 0; k < i; k++) {
            if (other->sprite == person->sprite) {
                found = other->tile;
                break;
            }
            other++;
        }
        if (found == 0) {
            found = next_tile;
            next_tile += 12;
            sprite_load(person->sprite, found, 12);
        }
        person->tile = found;
        person++;
    }
}

static void scroll_to_player(void) {
    uint8_t pixels = player_x << 4;
    pixels = pixels - 64;
    scroll_x = pixels;
    pixels = player_y << 4;
    pixels = pixels - 64;
    scroll_y = pixels;
}

/* Draw the whole picture; the LCD is off while this runs. */
static void map_draw(void) {
    uint8_t y = player_y - 5;
    uint8_t i;
    if (map_tileset) {
        copy_from(BANK_ART, indoor_tiles, MAP_TILES, INDOOR_TILES_LEN);
        copy_from(BANK_ART, indoor_meta, metatiles, 512);
    } else {
        copy_from(BANK_ART, outdoor_tiles, MAP_TILES, OUTDOOR_TILES_LEN);
        copy_from(BANK_ART, outdoor_meta, metatiles, 512);
    }
    for (i = 0; i < 11; i++) {
        row_draw(y);
        y++;
    }
    scroll_to_player();
    step_offset = 0;
    player_moves = 0;
    panel_close();
    sprites_draw();
}

/* Back to the map picture from a battle or a full-screen menu. */
void map_show(void) {
    lcd_off();
    mode = MODE_OVERWORLD;
    map_draw();
    story_objective();
    strip_draw();
    lcd_on();
}

void map_enter(uint8_t id, uint8_t x, uint8_t y, uint8_t toward) {
    lcd_off();
    mode = MODE_OVERWORLD;
    player_x = x;
    player_y = y;
    facing = toward;
    map_load(id);
    sprite_load(SPR_PLAYER, 0, 24);
    story_entered_map();
    gates_apply(0);
    people_refresh();
    map_draw();
    story_objective();
    strip_draw();
    lcd_on();
}

void go_home(void) {
    party_heal();
    map_enter(heal_map, heal_x, heal_y, DIR_DOWN);
}

/* ---- people and steps ---- */

static uint8_t person_at(uint8_t x, uint8_t y) {
    uint8_t i;
    Person *person = people;
    for (i = 0; i < n_people; i++) {
        if (person->visible) {
            if (person->x == x) {
                if (person->y == y) return i;
            }
        }
        person++;
    }
    return 0xFF;
}

static uint8_t warp_at(uint8_t x, uint8_t y) {
    uint8_t i;
    Warp *warp = warps;
    for (i = 0; i < n_warps; i++) {
        if (warp->x == x) {
            if (warp->y == y) return i;
        }
        warp++;
    }
    return 0xFF;
}

static uint8_t within(uint8_t value, uint8_t home, uint8_t range) {
    uint8_t distance;
    if (value >= home) {
        distance = value - home;
    } else {
        distance = home - value;
    }
    return distance <= range;
}

/* Each wandering person takes a step with one chance in four. old_x, old_y: where the player came from. */
static uint8_t people_decide(uint8_t old_x, uint8_t old_y) {
    uint8_t i;
    uint8_t any = 0;
    Person *person = people;
    for (i = 0; i < n_people; i++) {
        uint8_t draw = random_byte();
        uint8_t toward = draw >> 6;
        uint8_t x;
        uint8_t y;
        uint8_t ok;
        move_of[i] = NO_MOVE;
        draw = draw & 3;
        if (person->visible) {
            if (person->movement) {
                if (draw == 0) {
                    person->facing = toward;
                    if (person->movement == 1) {
                        x = person->x;
                        x = x + direction_x[toward];
                        y = person->y;
                        y = y + direction_y[toward];
                        ok = metatile_at(x, y);
                        if (ok < FIRST_LEDGE) {
                            ok = within(x, person->home_x, person->range);
                            if (ok) ok = within(y, person->home_y, person->range);
                            if (x == player_x) {
                                if (y == player_y) ok = 0;
                            }
                            if (x == old_x) {
                                if (y == old_y) ok = 0;
                            }
                            if (ok) {
                                if (person_at(x, y) != 0xFF) ok = 0;
                            }
                            if (ok) {
                                if (warp_at(x, y) != 0xFF) ok = 0;
                            }
                            if (ok) {
                                person->x = x;
                                person->y = y;
                                move_of[i] = toward;
                                any = 1;
                            }
                        }
                    }
                }
            }
        }
        person++;
    }
    return any;
}

static void step_animate(void) {
    uint8_t frame;
    uint8_t base_x = scroll_x;
    uint8_t base_y = scroll_y;
    uint8_t camera = 0;
    step_offset = 0;
    for (frame = 0; frame < STEP_FRAMES; frame++) {
        step_offset += 2;
        if (player_moves) {
            camera += player_speed;
            if (facing == DIR_DOWN) scroll_y = base_y + camera;
            if (facing == DIR_UP) scroll_y = base_y - camera;
            if (facing == DIR_LEFT) scroll_x = base_x - camera;
            if (facing == DIR_RIGHT) scroll_x = base_x + camera;
        }
        sprites_draw();
        wait_frame();
    }
    step_offset = 0;
    player_moves = 0;
    for (frame = 0; frame < 10; frame++) move_of[frame] = NO_MOVE;
    sprites_draw();
}

/* One tick of the world: the player steps, hops or stays; people move at the same time. */
static void world_step(uint8_t tiles) {
    uint8_t old_x = player_x;
    uint8_t old_y = player_y;
    uint8_t i;
    uint8_t any;
    player_moves = 0;
    for (i = 0; i < tiles; i++) {
        player_x = player_x + direction_x[facing];
        player_y = player_y + direction_y[facing];
        player_moves = 1;
        if (facing == DIR_DOWN) row_draw(player_y + 4);
        if (facing == DIR_UP) row_draw(player_y - 4);
        if (facing == DIR_LEFT) column_draw(player_x - 4);
        if (facing == DIR_RIGHT) column_draw(player_x + 5);
    }
    player_speed = 2;
    if (tiles == 2) player_speed = 4;
    any = people_decide(old_x, old_y);
    if (any) {
        step_animate();
    } else if (player_moves) {
        step_animate();
    } else {
        sprites_draw();
    }
}

static uint8_t facing_x(void) {
    return player_x + direction_x[facing];
}

static uint8_t facing_y(void) {
    return player_y + direction_y[facing];
}

/* How many tiles a press in the direction faced moves the player: 0 blocked, 1, or 2 over a ledge. */
static uint8_t tiles_ahead(void) {
    uint8_t x = facing_x();
    uint8_t y = facing_y();
    uint8_t id;
    if (x >= map_w) return 0;
    if (y >= map_h) return 0;
    id = metatile_at(x, y);
    if (id >= FIRST_SOLID) return 0;
    if (person_at(x, y) != 0xFF) return 0;
    if (id < FIRST_LEDGE) return 1;
    if (id >= FIRST_WARP) return 1;
    if (facing != DIR_DOWN) return 0;
    y++;
    if (y >= map_h) return 0;
    id = metatile_at(x, y);
    if (id >= FIRST_LEDGE) return 0;
    if (person_at(x, y) != 0xFF) return 0;
    return 2;
}

static void step_done(void) {
    uint8_t index;
    uint8_t id;
    uint8_t draw;
    Warp *warp;
    steps++;
    story_stepped();
    index = warp_at(player_x, player_y);
    if (index != 0xFF) {
        warp = warps + index;
        map_enter(warp->dest_map, warp->dest_x, warp->dest_y, warp->dest_facing);
        return;
    }
    id = metatile_at(player_x, player_y);
    if (id < FIRST_GRASS) return;
    if (id >= FIRST_LEDGE) return;
    if (party_count == 0) return;
    draw = random_byte();
    if (draw < encounter_rate) battle_wild(encounter_table);
}

/* Talk to the person or read the sign in front. 0 = there is nothing. */
static uint8_t interact(void) {
    uint8_t x = facing_x();
    uint8_t y = facing_y();
    uint8_t i = person_at(x, y);
    Person *person;
    Sign *sign = signs;
    if (i != 0xFF) {
        person = people + i;
        /* Turn to the player: down <-> up, left <-> right. */
        if (person->movement) person->facing = facing ^ 1;
        sprites_draw();
        script_run(person->script);
        return 1;
    }
    for (i = 0; i < n_signs; i++) {
        if (sign->x == x) {
            if (sign->y == y) {
                script_run(sign->script);
                return 1;
            }
        }
        sign++;
    }
    return 0;
}

void overworld_run(void) {
    uint8_t key;
    uint8_t toward;
    uint8_t tiles;
    for (;;) {
        sprites_draw();
        idle_limit = IDLE_FRAMES;
        key = wait_input();
        idle_limit = 0;
        if (key & KEY_START) {
            start_menu();
            sprites_draw();
            continue;
        }
        if (key & KEY_A) {
            if (interact()) {
                sprites_draw();
                continue;
            }
        }
        toward = 0xFF;
        if (key & KEY_DOWN) toward = DIR_DOWN;
        if (key & KEY_UP) toward = DIR_UP;
        if (key & KEY_LEFT) toward = DIR_LEFT;
        if (key & KEY_RIGHT) toward = DIR_RIGHT;
        if (toward == 0xFF) {
            world_step(0);
            continue;
        }
        facing = toward;
        tiles = tiles_ahead();
        world_step(tiles);
        if (tiles) step_done();
    }
}
