/* The people on a map and the player, as figures. One operation per statement (tallgrass/README.md). */
#include "people.h"
#include "events.h"
#include "ids.h"
#include "image.h"
#include "map.h"
#include "system.h"

#define NO_MOVE 0xFF
#define PEOPLE_MOST 10

/* Tiles of the figures: the player's, then each kind's, at the end the mark. */
#define PLAYER_TILES 24
#define KIND_TILES 12
#define MARK_TILE 124
#define MARK_TILES 4

static uint8_t move_of[PEOPLE_MOST]; /* direction each person walks in during this step, or NO_MOVE */
static uint8_t step_offset;          /* pixels walked in this step */
static uint8_t player_moves;
static uint8_t player_speed;         /* pixels a frame: 2 walking, 4 hopping */
static uint8_t oam_next;             /* end of the objects drawn so far, and of those drawn last time */
static uint8_t oam_used;

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
    /* Of the objects drawn before, those that are left over go. */
    for (i = oam_next; i < oam_used; i += 4) oam[i] = 0;
    oam_used = oam_next;
}

/* 8x16 objects want top and bottom next to each other: tiles TL TR BL BR become TL BL TR BR. */
static void sprite_copy(const uint8_t *source, uint8_t tile, uint8_t tiles) {
    uint16_t place = tile;
    uint8_t *target;
    uint8_t i;
    place = place << 4;
    target = SPRITE_TILES + place;
    for (i = 0; i < tiles; i += 4) {
        copy_from(BANK_ART, source, target, 16);
        copy_from(BANK_ART, source + 32, target + 16, 16);
        copy_from(BANK_ART, source + 16, target + 32, 16);
        copy_from(BANK_ART, source + 48, target + 48, 16);
        source += 64;
        target += 64;
    }
}

static void sprite_load(uint8_t kind, uint8_t tile, uint8_t tiles) {
    uint16_t place = offset_from(BANK_ART, sprite_offset, kind);
    const uint8_t *source = sprite_tiles + place;
    sprite_copy(source, tile, tiles);
}

void people_refresh(void) {
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

/* Tiles for everybody on a map that has just been loaded; each kind of person has its tiles once. */
void people_load(void) {
    uint8_t i;
    uint8_t k;
    uint8_t next_tile = PLAYER_TILES;
    Person *person = people;
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
            next_tile += KIND_TILES;
            sprite_load(person->sprite, found, KIND_TILES);
        }
        person->tile = found;
        person++;
    }
    sprite_load(SPR_PLAYER, 0, PLAYER_TILES);
    sprite_copy(mark_tiles, MARK_TILE, MARK_TILES);
    walk_end();
}

uint8_t person_at(uint8_t x, uint8_t y) {
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
    return NOBODY;
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
uint8_t people_decide(uint8_t old_x, uint8_t old_y) {
    uint8_t i;
    uint8_t any = image_flags & IMAGE_STILL;
    Person *person = people;
    if (any) return 0;
    for (i = 0; i < n_people; i++) {
        uint8_t draw = random_byte();
        uint8_t toward = draw >> 6;
        uint8_t x;
        uint8_t y;
        uint8_t ok;
        move_of[i] = NO_MOVE;
        draw = draw & 3;
        if (person->visible) {
            if (person->movement == MOVES_WANDERS || person->movement == MOVES_LOOKS) {
                if (draw == 0) {
                    person->facing = toward;
                    if (person->movement == MOVES_WANDERS) {
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
                                if (person_at(x, y) != NOBODY) ok = 0;
                            }
                            if (ok) {
                                if (warp_at(x, y) != NO_WARP) ok = 0;
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

/* Does this person, who stands on watch, see the player? */
static uint8_t sees_player(Person *person) {
    uint8_t toward = person->facing;
    uint8_t x = person->x;
    uint8_t y = person->y;
    uint8_t left = person->range;
    uint8_t id;
    while (left) {
        x = x + direction_x[toward];
        y = y + direction_y[toward];
        if (x == player_x) {
            if (y == player_y) return 1;
        }
        id = metatile_at(x, y);
        if (id >= FIRST_SOLID) return 0;
        if (person_at(x, y) != NOBODY) return 0;
        left--;
    }
    return 0;
}

/* The next person on watch, from number `from` on, who sees the player. */
uint8_t person_who_sees(uint8_t from) {
    Person *person = people + from;
    while (from < n_people) {
        if (person->movement == MOVES_SIGHT) {
            if (person->visible) {
                if (sees_player(person)) return from;
            }
        }
        from++;
        person++;
    }
    return NOBODY;
}

/* A mark over the head of someone who has seen the player. */
void sprite_mark(uint8_t person) {
    uint8_t x = people[person].x - player_x;
    uint8_t y = people[person].y - player_y;
    x = x + 4;
    x = x << 4;
    y = y + 3;
    y = y << 4;
    sprite_put(x, y, MARK_TILE, 0);
    oam_used = oam_next;
}

/* The player (by so many tiles) and whoever decided to are about to walk. */
void walk_begin(uint8_t tiles) {
    player_moves = tiles;
    player_speed = 2;
    if (tiles == 2) player_speed = 4;
    step_offset = 0;
}

/* One frame of it: two pixels further, the picture follows the player. */
void walk_frame(void) {
    step_offset += 2;
    if (player_moves) {
        if (facing == DIR_DOWN) scroll_y = scroll_y + player_speed;
        if (facing == DIR_UP) scroll_y = scroll_y - player_speed;
        if (facing == DIR_LEFT) scroll_x = scroll_x - player_speed;
        if (facing == DIR_RIGHT) scroll_x = scroll_x + player_speed;
    }
    sprites_draw();
}

void walk_end(void) {
    uint8_t i;
    step_offset = 0;
    player_moves = 0;
    for (i = 0; i < PEOPLE_MOST; i++) move_of[i] = NO_MOVE;
}
