/* Tallgrass: from power-on to the map, then round and round. */
#include "dialog.h"
#include "ids.h"
#include "image.h"
#include "overworld.h"
#include "screen.h"
#include "screens.h"
#include "story.h"
#include "system.h"

void main(void) {
    uint8_t staged;
    busy = 1;
    system_init();
    clock_target = NOT_DRAWN;
    wish = NOT_DRAWN;
    image_read();
    money = 100;
    magic[0] = 'T';
    magic[1] = 'G';
    layout_version = 1;
    screen_load_tiles();
    staged = image_flags & IMAGE_STAGE;
    if (staged) {
        image_stage();
        story_enter_map(map, player_x, player_y, facing);
    } else {
        title_screen();
        name_screen();
        intro_screen();
        story_enter_map(START_MAP, start_x, start_y, DIR_DOWN);
        text_show(T_WAKE_UP);
    }
    overworld_run();
}
