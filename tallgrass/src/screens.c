/* Screens outside the map: title, name entry, introduction, the clock, the START menu. */
#include "screens.h"
#include "battle.h"
#include "ids.h"
#include "overworld.h"
#include "story.h"
#include "system.h"
#include "ui.h"

#define NAME_COLUMNS 7
#define NAME_CELLS 28
#define CELL_DELETE 26
#define CELL_END 27
#define NAME_LENGTH 7
#define CLOCK_COLUMN 4
#define CLOCK_SLOTS 12

/* Lists for list_choose: words, each ended by a 0. */
const char bag_items[] = "POTION\0BALL\0BACK";
static const char start_items[] = "MONSTERS\0BAG\0BACK";

static void full_screen(void) {
    lcd_off();
    hide_sprites();
    scroll_x = 0;
    scroll_y = 0;
    panel_close();
    background_clear();
}

void title_screen(void) {
    uint8_t row;
    uint16_t from = 0;
    uint8_t *target = BG_MAP;
    uint8_t key;
    mode = MODE_TITLE;
    full_screen();
    ui_load_tiles();
    copy_from(BANK_ART, title_tiles, MAP_TILES, TITLE_TILES_LEN);
    for (row = 0; row < 18; row++) {
        copy_from(BANK_ART, title_map + from, target, 20);
        from += 20;
        target += 32;
    }
    story_objective();
    strip_draw();
    lcd_on();
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
    mode = MODE_NAME;
    full_screen();
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
    story_objective();
    strip_draw();
    lcd_on();
    cursor = random_below(CELL_DELETE);
    for (;;) {
        picked = grid_choose(MENU_NAME, NAME_COLUMNS, NAME_CELLS, name_column, name_row, background_put);
        if (picked == 0xFF) picked = CELL_DELETE;
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

static void picture_put(uint8_t column, uint8_t row, uint8_t first) {
    uint8_t y;
    uint8_t x;
    uint8_t tile = first;
    uint8_t right;
    for (y = 0; y < 5; y++) {
        right = column;
        for (x = 0; x < 5; x++) {
            background_put(right, row, tile);
            tile++;
            right++;
        }
        row++;
    }
}

void intro_screen(void) {
    mode = MODE_INTRO;
    full_screen();
    copy_from(BANK_PICS, pics + PIC_PROF * 400, MAP_TILES, 400);
    picture_put(7, 3, 0);
    story_objective();
    strip_draw();
    lcd_on();
    text_show(T_INTRO);
    event_mark(EV_INTRO_DONE);
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

/* A bar of twelve hours: bring the marker under the sun, then say YES. */
void clock_screen(void) {
    uint8_t key;
    uint8_t picked;
    if (event_is_set(EV_CLOCK_SET)) {
        text_show(T_CLOCK_ALREADY);
        return;
    }
    text_show(T_CLOCK);
    if (clock_target == NOT_DRAWN) clock_target = random_below(CLOCK_SLOTS);
    menu_value = random_below(CLOCK_SLOTS);
    for (;;) {
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
            story_mark(EV_CLOCK_SET);
            text_show(T_CLOCK_DONE);
            menu_value = 0;
            return;
        }
        text_show(T_CLOCK_WRONG);
    }
    menu_value = 0;
    panel_close();
}

static void number_put(uint8_t column, uint8_t row, uint8_t value) {
    uint8_t digit = value / 10;
    digit = digit % 10;
    digit = digit | 0xB0;
    panel_put(column, row, digit);
    digit = value % 10;
    digit = digit | 0xB0;
    column++;
    panel_put(column, row, digit);
}

static void party_page(void) {
    uint8_t i;
    uint8_t rows = party_count + 2;
    uint8_t row = 1;
    uint16_t place;
    Monster *monster = party;
    if (party_count == 0) {
        text_show(T_NOTHING);
        return;
    }
    panel_open(rows);
    for (i = 0; i < party_count; i++) {
        place = monster->species - 1;
        place = place * 9;
        panel_print(1, row, (const char *)species_names + place);
        panel_put(10, row, TILE_LEVEL);
        number_put(11, row, monster->level);
        number_put(14, row, monster->hp);
        panel_put(16, row, '/' | 0x80);
        number_put(17, row, monster->max_hp);
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
    uint8_t counts[3];
    uint8_t picked;
    uint8_t i;
    Monster *monster = party;
    counts[0] = bag[BAG_POTION];
    counts[1] = bag[BAG_BALL];
    counts[2] = 0xFF;
    picked = list_choose(MENU_BAG, bag_items, counts, 3);
    if (picked != 0) return;
    if (bag[BAG_POTION]) {
        for (i = 0; i < party_count; i++) {
            if (monster->hp) {
                if (monster->hp < monster->max_hp) {
                    bag[BAG_POTION]--;
                    use_potion(monster);
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
