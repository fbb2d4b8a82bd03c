/* Menus: a cursor over a grid of positions, lists, questions. One operation per statement (tallgrass/README.md). */
#include "menu.h"
#include "dialog.h"
#include "panel.h"
#include "screen.h"
#include "system.h"

#define NO_COUNT 0xFF

static uint8_t choose_row;
static const char bag_items[] = "POTION\0BALL\0BACK";

static uint8_t list_column(uint8_t item) {
    (void)item;
    return 1;
}

static uint8_t list_row(uint8_t item) {
    return choose_row + item;
}

/* Move the cursor over n positions until A (returns the position) or B (returns MENU_BACK). `cursor` holds the first. */
uint8_t grid_choose(uint8_t kind, uint8_t columns, uint8_t n, uint8_t (*column_of)(uint8_t), uint8_t (*row_of)(uint8_t),
                    void (*put)(uint8_t column, uint8_t row, uint8_t tile)) {
    uint8_t key;
    uint8_t before;
    uint8_t column;
    uint8_t row;
    uint8_t limit;
    menu = kind;
    menu_items = n;
    for (;;) {
        column = column_of(cursor);
        row = row_of(cursor);
        put(column, row, TILE_CURSOR);
        key = wait_input();
        before = cursor;
        if (key & KEY_A) break;
        if (key & KEY_B) {
            before = MENU_BACK;
            break;
        }
        column = cursor % columns;
        if (key & KEY_RIGHT) {
            limit = columns - 1;
            if (column < limit) cursor++;
        } else if (key & KEY_LEFT) {
            if (column) cursor--;
        } else if (key & KEY_UP) {
            if (cursor >= columns) cursor = cursor - columns;
        } else if (key & KEY_DOWN) {
            limit = cursor + columns;
            if (limit < n) cursor = limit;
        }
        column = column_of(before);
        row = row_of(before);
        put(column, row, TILE_BLANK);
    }
    menu = MENU_NONE;
    menu_items = 0;
    return before;
}

uint8_t yes_no(uint8_t row) {
    uint8_t below = row + 1;
    uint8_t picked;
    panel_print(2, row, "YES");
    panel_print(2, below, "NO");
    choose_row = row;
    cursor = 1;
    picked = grid_choose(MENU_YES_NO, 1, 2, list_column, list_row, panel_put);
    cursor = 0;
    return picked == 0;
}

/* A one-page text with YES and NO under it; 1 = yes. The cursor starts on NO, B means NO. */
uint8_t text_ask(uint8_t id) {
    uint8_t answer;
    text_first_page(id);
    panel_open(6);
    text_draw(1);
    text_open = 1;
    answer = yes_no(3);
    text_open = 0;
    panel_close();
    return answer;
}

/* A list in a panel of its own: n words, each ended by a 0, and how many of each if counts is given. 0xFF = B. */
uint8_t list_choose(uint8_t kind, const char *items, const uint8_t *counts, uint8_t n) {
    uint8_t i;
    uint8_t row = 1;
    uint8_t picked;
    uint8_t rows = n + 2;
    panel_open(rows);
    for (i = 0; i < n; i++) {
        panel_print(2, row, items);
        while (*items) items++;
        items++;
        if (counts) {
            uint8_t count = counts[i];
            if (count != NO_COUNT) {
                panel_number(14, row, count);
            }
        }
        row++;
    }
    choose_row = 1;
    cursor = 0;
    picked = grid_choose(kind, 1, n, list_column, list_row, panel_put);
    cursor = 0;
    panel_close();
    return picked;
}

/* The bag's list, with how much there is of everything. */
uint8_t bag_choose(uint8_t kind) {
    uint8_t counts[3];
    counts[0] = bag[BAG_POTION];
    counts[1] = bag[BAG_BALL];
    counts[2] = NO_COUNT;
    return list_choose(kind, bag_items, counts, 3);
}
