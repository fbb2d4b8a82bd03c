/* The player on the map: steps, warps, talking, being seen. One operation per statement (tallgrass/README.md). */
#include "overworld.h"
#include "map.h"
#include "panel.h"
#include "people.h"
#include "start_menu.h"
#include "story.h"
#include "system.h"
#include "world.h"

#define NO_DIRECTION 0xFF
#define IDLE_FRAMES 64 /* people go for a walk when nobody touches a button for that long */

static void step_done(void) {
    uint8_t index;
    uint8_t id;
    uint8_t draw;
    Warp *warp;
    steps++;
    story_stepped();
    index = warp_at(player_x, player_y);
    if (index != NO_WARP) {
        warp = warps + index;
        story_enter_map(warp->dest_map, warp->dest_x, warp->dest_y, warp->dest_facing);
        return;
    }
    id = metatile_at(player_x, player_y);
    if (id < FIRST_GRASS) return;
    if (id >= FIRST_LEDGE) return;
    if (party_count == 0) return;
    draw = random_byte();
    if (draw < encounter_rate) story_encounter();
}

/* Talk to the person or read the sign in front. 0 = there is nothing. */
static uint8_t interact(void) {
    uint8_t x = facing_x();
    uint8_t y = facing_y();
    uint8_t i = person_at(x, y);
    Person *person;
    Sign *sign = signs;
    if (i != NOBODY) {
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

/* Someone on watch who has not fought yet may see the player: a mark over the head, then what they have to say. */
static uint8_t seen(void) {
    uint8_t index = person_who_sees(0);
    while (index != NOBODY) {
        uint8_t script = people[index].script;
        if (script_waits(script)) {
            strip_update();
            sprites_draw();
            sprite_mark(index);
            script_run(script);
            return 1;
        }
        index++;
        index = person_who_sees(index);
    }
    return 0;
}

void overworld_run(void) {
    uint8_t key;
    uint8_t toward;
    uint8_t tiles;
    for (;;) {
        if (seen()) continue;
        strip_update();
        sprites_draw();
        idle_limit = IDLE_FRAMES;
        key = wait_input();
        idle_limit = 0;
        if (key & KEY_START) {
            start_menu();
            continue;
        }
        if (key & KEY_A) {
            if (interact()) continue;
        }
        toward = NO_DIRECTION;
        if (key & KEY_DOWN) toward = DIR_DOWN;
        if (key & KEY_UP) toward = DIR_UP;
        if (key & KEY_LEFT) toward = DIR_LEFT;
        if (key & KEY_RIGHT) toward = DIR_RIGHT;
        if (toward == NO_DIRECTION) {
            world_step(0);
            continue;
        }
        facing = toward;
        tiles = tiles_ahead();
        world_step(tiles);
        if (tiles) step_done();
    }
}
