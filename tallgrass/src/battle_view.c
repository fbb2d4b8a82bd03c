/* The picture of a battle: both monsters, their names, levels and bars. One operation per statement (tallgrass/README.md). */
#include "battle_view.h"
#include "ids.h"
#include "monsters.h"
#include "panel.h"
#include "screen.h"
#include "system.h"

#define ENEMY_TILE 0
#define PLAYER_TILE 25
#define BAR_SEGMENTS 8

static void bar_draw(uint8_t column, uint8_t row, Monster *monster) {
    uint16_t pixels = monster->hp;
    uint16_t most = monster->max_hp;
    uint8_t left;
    uint8_t i;
    uint8_t fill;
    pixels = pixels << 6;
    pixels = pixels / most;
    left = (uint8_t)pixels;
    if (left == 0) {
        if (monster->hp) left = 1;
    }
    background_put(column, row, TILE_BAR_LEFT);
    column++;
    for (i = 0; i < BAR_SEGMENTS; i++) {
        fill = left;
        if (fill > 8) fill = 8;
        left = left - fill;
        background_put(column, row, TILE_BAR_0 + fill);
        column++;
    }
    background_put(column, row, TILE_BAR_RIGHT);
}

void status_draw(void) {
    Monster *mine = party + active;
    bar_draw(1, 2, &enemy);
    bar_draw(9, 9, mine);
    background_number(10, 10, mine->hp);
    background_put(12, 10, '/' | 0x80);
    background_number(13, 10, mine->max_hp);
}

static void name_draw(uint8_t column, uint8_t row, uint8_t species) {
    background_print(column, row, "         ");
    background_print(column, row, species_name(species));
}

static void enemy_draw(void) {
    picture_load(PIC_FRONT(enemy.species), ENEMY_TILE);
    name_draw(1, 0, enemy.species);
    background_put(1, 1, TILE_LEVEL);
    background_number(2, 1, enemy.level);
    picture_put(14, 0, ENEMY_TILE);
}

void enemy_erase(void) {
    picture_erase(14, 0);
}

void mine_level_draw(void) {
    Monster *mine = party + active;
    background_put(9, 8, TILE_LEVEL);
    background_number(10, 8, mine->level);
}

void mine_draw(void) {
    Monster *mine = party + active;
    picture_load(PIC_BACK(mine->species), PLAYER_TILE);
    name_draw(9, 7, mine->species);
    mine_level_draw();
    picture_put(1, 7, PLAYER_TILE);
}

void mine_erase(void) {
    picture_erase(1, 7);
}

void battle_view_open(void) {
    mode = MODE_BATTLE;
    screen_open();
    enemy_draw();
    mine_draw();
    status_draw();
    strip_update();
    panel_open(4);
    lcd_on();
}
