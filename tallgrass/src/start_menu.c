/* The START menu on the map: monsters, bag. One operation per statement (tallgrass/README.md). */
#include "start_menu.h"
#include "dialog.h"
#include "ids.h"
#include "menu.h"
#include "monsters.h"
#include "panel.h"
#include "screen.h"
#include "system.h"

static const char start_items[] = "MONSTERS\0BAG\0BACK";

static void party_page(void) {
    uint8_t i;
    uint8_t rows = party_count + 2;
    uint8_t row = 1;
    Monster *monster = party;
    if (party_count == 0) {
        text_show(T_NOTHING);
        return;
    }
    panel_open(rows);
    for (i = 0; i < party_count; i++) {
        panel_print(1, row, species_name(monster->species));
        panel_put(10, row, TILE_LEVEL);
        panel_number(11, row, monster->level);
        panel_number(14, row, monster->hp);
        panel_put(16, row, '/' | 0x80);
        panel_number(17, row, monster->max_hp);
        monster++;
        row++;
    }
    menu = MENU_PARTY;
    menu_items = party_count;
    wait_input();
    menu = MENU_NONE;
    menu_items = 0;
    panel_close();
}

static void bag_page(void) {
    uint8_t picked;
    uint8_t i;
    Monster *monster = party;
    picked = bag_choose(MENU_BAG);
    if (picked != BAG_POTION) return;
    if (bag[BAG_POTION]) {
        for (i = 0; i < party_count; i++) {
            if (monster->hp) {
                if (monster->hp < monster->max_hp) {
                    i = monster_drink(monster);
                    tell_drink(monster, i);
                    panel_close();
                    return;
                }
            }
            monster++;
        }
    }
    text_show(T_BAG_NO_EFFECT);
}

void start_menu(void) {
    uint8_t picked = list_choose(MENU_START, start_items, 0, 3);
    if (picked == 0) party_page();
    if (picked == 1) bag_page();
}
