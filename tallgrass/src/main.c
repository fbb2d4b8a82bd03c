/* Tallgrass: from power-on to the map, then round and round. */
#include "ids.h"
#include "overworld.h"
#include "screens.h"
#include "story.h"
#include "system.h"
#include "ui.h"

void main(void) {
    busy = 1;
    system_init();
    clock_target = NOT_DRAWN;
    wish = NOT_DRAWN;
    heal_map = HEAL_MAP;
    heal_x = HEAL_X;
    heal_y = HEAL_Y;
    money = 100;
    magic[0] = 'T';
    magic[1] = 'G';
    layout_version = 1;
    title_screen();
    name_screen();
    intro_screen();
    map_enter(START_MAP, START_X, START_Y, DIR_DOWN);
    text_show(T_WAKE_UP);
    overworld_run();
}
