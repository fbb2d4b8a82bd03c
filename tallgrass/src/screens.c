/* Screens of their own: title, name entry, introduction, the clock, the end. One operation per statement (tallgrass/README.md). */
#include "screens.h"
#include "dialog.h"
#include "events.h"
#include "ids.h"
#include "menu.h"
#include "panel.h"
#include "screen.h"
#include "system.h"

#define NAME_COLUMNS 7
#define NAME_CELLS 28
#define CELL_DELETE 26
#define CELL_END 27
#define NAME_LENGTH 7
#define CLOCK_COLUMN 4
#define CLOCK_SLOTS 12

static void open_in(uint8_t new_mode) {
    mode = new_mode;
    screen_open();
    panel_close();
}

static void show(void) {
    strip_update();
    lcd_on();
}

void title_screen(void) {
    uint8_t row;
    uint16_t from = 0;
    uint8_t *target = BG_MAP;
    uint8_t key;
    open_in(MODE_TITLE);
    copy_from(BANK_ART, title_tiles, MAP_TILES, TITLE_TILES_LEN);
    for (row = 0; row < 18; row++) {
        copy_from(BANK_ART, title_map + from, target, 20);
        from += 20;
        target += 32;
    }
    show();
    menu = MENU_TITLE;
    do {
        key = wait_input();
        key = key & KEY_START;
    } while (!key);
    menu = MENU_NONE;
    event_mark(EV_GAME_STARTED);
}

static uint8_t name_column(uint8_t cell) {
    uint8_t column = cell % NAME_COLUMNS;
    column = column << 1;
    return column + 2;
}

static uint8_t name_row(uint8_t cell) {
    uint8_t row = cell / NAME_COLUMNS;
    row = row << 1;
    return row + 7;
}

static void name_draw(uint8_t length) {
    uint8_t i;
    uint8_t letter;
    for (i = 0; i < NAME_LENGTH; i++) {
        letter = '_' | 0x80;
        if (i < length) letter = player_name[i] | 0x80;
        background_put(6 + i, 4, letter);
    }
}

void name_screen(void) {
    uint8_t cell;
    uint8_t column;
    uint8_t row;
    uint8_t length = 0;
    uint8_t picked;
    open_in(MODE_NAME);
    background_print(4, 2, "WHO ARE YOU?");
    for (cell = 0; cell < NAME_CELLS; cell++) {
        uint8_t letter = cell + 'A';
        column = name_column(cell);
        column++;
        row = name_row(cell);
        letter = letter | 0x80;
        if (cell == CELL_DELETE) letter = '<' | 0x80;
        if (cell == CELL_END) letter = 'O' | 0x80;
        background_put(column, row, letter);
        if (cell == CELL_END) {
            column++;
            background_put(column, row, 'K' | 0x80);
        }
    }
    for (cell = 0; cell < 8; cell++) player_name[cell] = 0;
    name_draw(0);
    show();
    cursor = random_below(CELL_DELETE);
    for (;;) {
        picked = grid_choose(MENU_NAME, NAME_COLUMNS, NAME_CELLS, name_column, name_row, background_put);
        if (picked == MENU_BACK) picked = CELL_DELETE;
        if (picked == CELL_END) {
            if (length) break;
        } else if (picked == CELL_DELETE) {
            if (length) {
                length--;
                player_name[length] = 0;
            }
        } else if (length < NAME_LENGTH) {
            player_name[length] = 'A' + picked;
            length++;
        }
        name_draw(length);
        /* The old cursor may have been left standing by B. */
        column = name_column(cursor);
        row = name_row(cursor);
        background_put(column, row, TILE_CURSOR);
    }
    cursor = 0;
    event_mark(EV_NAME_SET);
}

void intro_screen(void) {
    open_in(MODE_INTRO);
    picture_load(PIC_PROF, 0);
    picture_put(7, 3, 0);
    show();
    text_show(T_INTRO);
    event_mark(EV_INTRO_DONE);
}

/* After the badge: A or START leads back to the map. */
void ending_screen(void) {
    uint8_t key;
    open_in(MODE_ENDING);
    picture_load(PIC_PROF, 0);
    picture_put(7, 2, 0);
    background_print(6, 9, "THE END.");
    show();
    text_show(T_ENDING);
    do {
        key = wait_input();
        key = key & (KEY_A | KEY_START);
    } while (!key);
}

static void clock_draw(void) {
    uint8_t i;
    uint8_t column = CLOCK_COLUMN;
    uint8_t tile;
    for (i = 0; i < CLOCK_SLOTS; i++) {
        tile = TILE_BLANK;
        if (i == clock_target) tile = TILE_SUN;
        panel_put(column, 1, tile);
        tile = TILE_SLOT;
        if (i == menu_value) tile = TILE_MARKER;
        panel_put(column, 2, tile);
        column++;
    }
}

/* A bar of twelve hours: bring the marker under the sun, then say YES. 1 = the clock is right now. */
uint8_t clock_screen(void) {
    uint8_t key;
    uint8_t picked;
    uint8_t right = 0;
    if (clock_target == NOT_DRAWN) clock_target = random_below(CLOCK_SLOTS);
    menu_value = random_below(CLOCK_SLOTS);
    while (!right) {
        panel_open(4);
        clock_draw();
        menu = MENU_CLOCK;
        menu_items = CLOCK_SLOTS;
        for (;;) {
            key = wait_input();
            if (key & KEY_A) break;
            if (key & KEY_B) break;
            if (key & KEY_LEFT) {
                if (menu_value) menu_value--;
            }
            if (key & KEY_RIGHT) {
                if (menu_value < CLOCK_SLOTS - 1) menu_value++;
            }
            clock_draw();
        }
        menu = MENU_NONE;
        menu_items = 0;
        if (key & KEY_B) break;
        panel_open(7);
        clock_draw();
        panel_print(1, 3, "Is this the hour?");
        picked = yes_no(4);
        if (!picked) continue;
        panel_close();
        if (menu_value == clock_target) {
            right = 1;
        } else {
            text_show(T_CLOCK_WRONG);
        }
    }
    menu_value = 0;
    panel_close();
    return right;
}
