/* The world at work: the map with its people on the screen, and one tick of both. One operation per statement (tallgrass/README.md). */
#include "world.h"
#include "map.h"
#include "panel.h"
#include "people.h"
#include "system.h"

#define STEP_FRAMES 8

/* To another map; nothing shows before world_show. */
void world_load(uint8_t id, uint8_t x, uint8_t y, uint8_t toward) {
    lcd_off();
    player_x = x;
    player_y = y;
    facing = toward;
    map_load(id);
    people_load();
}

/* The map's picture, from scratch: on another map, or back from a battle or another screen. */
void world_show(void) {
    lcd_off();
    mode = MODE_OVERWORLD;
    gates_apply(0);
    people_refresh();
    map_draw();
    panel_close();
    sprites_draw();
    strip_update();
    lcd_on();
}

/* An event has changed: open gates, let people come and go, tell the new objective. */
void world_refresh(void) {
    gates_apply(1);
    people_refresh();
    strip_update();
    sprites_draw();
}

uint8_t facing_x(void) {
    return player_x + direction_x[facing];
}

uint8_t facing_y(void) {
    return player_y + direction_y[facing];
}

/* How many tiles a press in the direction faced moves the player: 0 blocked, 1, or 2 over a ledge. */
uint8_t tiles_ahead(void) {
    uint8_t x = facing_x();
    uint8_t y = facing_y();
    uint8_t id;
    if (x >= map_w) return 0;
    if (y >= map_h) return 0;
    id = metatile_at(x, y);
    if (id >= FIRST_SOLID) return 0;
    if (person_at(x, y) != NOBODY) return 0;
    if (id < FIRST_LEDGE) return 1;
    if (id >= FIRST_WARP) return 1;
    if (facing != DIR_DOWN) return 0;
    y++;
    if (y >= map_h) return 0;
    id = metatile_at(x, y);
    if (id >= FIRST_LEDGE) return 0;
    if (person_at(x, y) != NOBODY) return 0;
    return 2;
}

/* One tick of the world: the player steps, hops or stays; people move at the same time. */
void world_step(uint8_t tiles) {
    uint8_t old_x = player_x;
    uint8_t old_y = player_y;
    uint8_t i;
    uint8_t any;
    for (i = 0; i < tiles; i++) {
        player_x = player_x + direction_x[facing];
        player_y = player_y + direction_y[facing];
        if (facing == DIR_DOWN) map_row_draw(player_y + 4);
        if (facing == DIR_UP) map_row_draw(player_y - 4);
        if (facing == DIR_LEFT) map_column_draw(player_x - 4);
        if (facing == DIR_RIGHT) map_column_draw(player_x + 5);
    }
    any = people_decide(old_x, old_y);
    if (tiles) any = 1;
    if (any) {
        walk_begin(tiles);
        for (i = 0; i < STEP_FRAMES; i++) {
            walk_frame();
            wait_frame();
        }
        walk_end();
    }
    sprites_draw();
}
