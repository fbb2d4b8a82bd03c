/* The panel at the bottom of the screen: objective strip, texts, lists, questions.
   It is the window layer: rows 0-1 hold the strip, the rows below it the open panel, and the window's
   place (window_y) says how much of it shows. One operation per statement (tallgrass/README.md). */
#include "ui.h"
#include "ids.h"
#include "system.h"

char text_name[9];
static uint8_t strip_shown;
static uint8_t text_at; /* next free place in text[] */

#define STRIP_ROWS 2
#define PANEL_WIDTH 20
#define STRIP_Y 128
#define LINE_LENGTH 18

static uint8_t *window_at(uint8_t column, uint8_t row) {
    uint16_t place = row;
    place = place << 5;
    place = place + column;
    return WINDOW_MAP + place;
}

static uint8_t *background_at(uint8_t column, uint8_t row) {
    uint16_t place = row;
    place = place << 5;
    place = place + column;
    return BG_MAP + place;
}

void ui_load_tiles(void) {
    copy_from(BANK_ART, ui_tiles, UI_TILES, 512);
    copy_from(BANK_ART, font_tiles, UI_TILES + 512, 1536);
    strip_shown = 0xFF;
}

void background_put(uint8_t column, uint8_t row, uint8_t tile) {
    uint8_t *target = background_at(column, row);
    video_put(target, tile);
}

void background_print(uint8_t column, uint8_t row, const char *string) {
    uint8_t *target = background_at(column, row);
    uint8_t letter;
    for (;;) {
        letter = *string;
        if (letter == 0) return;
        letter = letter | 0x80;
        video_put(target, letter);
        target++;
        string++;
    }
}

void background_clear(void) {
    uint16_t i;
    uint8_t *target = BG_MAP;
    for (i = 0; i < 1024; i++) {
        *target = TILE_BLANK;
        target++;
    }
}

void panel_put(uint8_t column, uint8_t row, uint8_t tile) {
    uint8_t below = row + STRIP_ROWS;
    uint8_t *target = window_at(column, below);
    video_put(target, tile);
}

void panel_print(uint8_t column, uint8_t row, const char *string) {
    uint8_t below = row + STRIP_ROWS;
    uint8_t *target = window_at(column, below);
    uint8_t letter;
    for (;;) {
        letter = *string;
        if (letter == 0) return;
        letter = letter | 0x80;
        video_put(target, letter);
        target++;
        string++;
    }
}

static void panel_row(uint8_t row, uint8_t left, uint8_t middle, uint8_t right) {
    uint8_t below = row + STRIP_ROWS;
    uint8_t *target = window_at(0, below);
    uint8_t i;
    video_put(target, left);
    target++;
    for (i = 0; i < LINE_LENGTH; i++) {
        video_put(target, middle);
        target++;
    }
    video_put(target, right);
}

/* Draw an empty box of `rows` rows under the strip and move the window up so that it shows. */
void panel_open(uint8_t rows) {
    uint8_t row;
    uint8_t last = rows - 1;
    uint8_t height = rows << 3;
    panel_row(0, TILE_BOX_TL, TILE_BOX_T, TILE_BOX_TR);
    for (row = 1; row < last; row++) panel_row(row, TILE_BOX_L, TILE_BLANK, TILE_BOX_R);
    panel_row(last, TILE_BOX_BL, TILE_BOX_B, TILE_BOX_BR);
    window_y = STRIP_Y - height;
    /* Sprites lie above the window: those that it covers have to go. */
    for (row = 0; row < 160; row += 4) {
        uint8_t bottom = oam[row];
        if (bottom > window_y) oam[row] = 0;
    }
}

void panel_close(void) {
    window_y = STRIP_Y;
}

/* Icon and two lines that tell what to do next; drawn again only when the objective changed. */
void strip_draw(void) {
    uint16_t place;
    const uint8_t *source;
    uint8_t icon;
    uint8_t column;
    uint8_t row;
    uint8_t letter;
    uint8_t *cell;
    if (objective == strip_shown) return;
    strip_shown = objective;
    copy_from(BANK_TEXT, objective_icon + objective, buffer, 1);
    icon = buffer[0];
    place = icon;
    place = place << 6;
    copy_to_video(BANK_ART, icon_tiles + place, UI_TILES + 0x180, 64);
    for (row = 0; row < STRIP_ROWS; row++) {
        cell = window_at(0, row);
        for (column = 0; column < PANEL_WIDTH; column++) {
            video_put(cell, TILE_BLANK);
            cell++;
        }
    }
    letter = TILE_ICON;
    for (row = 0; row < STRIP_ROWS; row++) {
        cell = window_at(0, row);
        for (column = 0; column < 2; column++) {
            video_put(cell, letter);
            cell++;
            letter++;
        }
    }
    place = objective;
    place = place << 1;
    copy_from(BANK_TEXT, (const uint8_t *)objective_offset + place, buffer, 2);
    place = buffer[1];
    place = place << 8;
    place = place | buffer[0];
    source = objective_text + place;
    copy_from(BANK_TEXT, source, buffer, 40);
    cell = window_at(3, 0);
    source = buffer;
    for (;;) {
        letter = *source;
        if (letter == 0) break;
        source++;
        if (letter == '\n') {
            cell = window_at(3, 1);
            continue;
        }
        letter = letter | 0x80;
        video_put(cell, letter);
        cell++;
    }
}

/* ---- texts ---- */

static void text_draw(uint8_t row) {
    const char *second = text;
    panel_print(1, row, text);
    while (*second) second++;
    second++;
    row++;
    panel_print(1, row, second);
}

static void text_put(uint8_t letter) {
    if (text_at < 38) {
        text[text_at] = letter;
        text_at++;
    }
}

void compose_start(void) {
    uint8_t i;
    for (i = 0; i < 40; i++) text[i] = 0;
    text_at = 0;
    text_id = TEXT_BATTLE;
    text_page = 0;
}

void compose_line(void) {
    text_put(0);
}

void compose(const char *string) {
    uint8_t letter;
    for (;;) {
        letter = *string;
        if (letter == 0) return;
        text_put(letter);
        string++;
    }
}

void compose_number(uint8_t value) {
    uint8_t digit = value / 100;
    uint8_t rest = value % 100;
    uint8_t shown = 0;
    if (digit) {
        text_put('0' + digit);
        shown = 1;
    }
    digit = rest / 10;
    rest = rest % 10;
    if (digit) shown = 1;
    if (shown) text_put('0' + digit);
    text_put('0' + rest);
}

static void wait_for_a(void) {
    uint8_t key;
    for (;;) {
        key = wait_input();
        key = key & 0x30; /* A or B */
        if (key) return;
    }
}

/* Show text[] in a panel of four rows and wait for A (or B). */
void compose_show(void) {
    panel_open(4);
    text_draw(1);
    panel_put(18, 3, TILE_MORE);
    text_open = 1;
    wait_for_a();
    text_open = 0;
}

/* Copy a text of the story into buffer[]. */
static void text_fetch(uint8_t id) {
    uint16_t place = id;
    const uint8_t *source;
    place = place << 1;
    copy_from(BANK_TEXT, (const uint8_t *)text_offset + place, buffer, 2);
    place = buffer[1];
    place = place << 8;
    place = place | buffer[0];
    source = text_data + place;
    copy_from(BANK_TEXT, source, buffer, 768);
}

/* Put the page that starts at buffer[at] into text[]; returns the place after it (0: that was the last page). */
static uint16_t text_page_at(uint16_t at) {
    uint8_t letter;
    uint8_t id = text_id;
    uint8_t page = text_page;
    compose_start();
    text_id = id;
    text_page = page;
    for (;;) {
        letter = buffer[at];
        if (letter == 0) return 0;
        at++;
        if (letter == 0x0C) return at;
        if (letter == 1) {
            compose(player_name);
        } else if (letter == 2) {
            compose(text_name);
        } else if (letter == '\n') {
            compose_line();
        } else {
            text_put(letter);
        }
    }
}

void text_show(uint8_t id) {
    uint16_t at = 0;
    text_fetch(id);
    text_id = id;
    text_page = 0;
    for (;;) {
        at = text_page_at(at);
        compose_show();
        if (at == 0) break;
        text_page++;
    }
    panel_close();
}

/* A one-page text with YES and NO under it; 1 = yes. The cursor starts on NO, B means NO. */
uint8_t text_ask(uint8_t id) {
    uint8_t answer;
    text_fetch(id);
    text_id = id;
    text_page = 0;
    text_page_at(0);
    panel_open(6);
    text_draw(1);
    text_open = 1;
    answer = yes_no(3);
    text_open = 0;
    panel_close();
    return answer;
}

/* ---- menus ---- */

static uint8_t choose_row;

static uint8_t list_column(uint8_t item) {
    (void)item;
    return 1;
}

static uint8_t list_row(uint8_t item) {
    return choose_row + item;
}

/* Move the cursor over n positions until A (returns the position) or B (returns 0xFF). `cursor` holds the first. */
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
            before = 0xFF;
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

/* A list in a panel of its own: n words, each ended by a 0, and how many of each if counts is given. 0xFF = B. */
uint8_t list_choose(uint8_t kind, const char *items, const uint8_t *counts, uint8_t n) {
    uint8_t i;
    uint8_t row = 1;
    uint8_t picked;
    uint8_t rows = n + 2;
    uint8_t digit;
    panel_open(rows);
    for (i = 0; i < n; i++) {
        panel_print(2, row, items);
        while (*items) items++;
        items++;
        if (counts) {
            uint8_t count = counts[i];
            if (count != 0xFF) {
                digit = count / 10;
                digit = digit | 0xB0;
                panel_put(14, row, digit);
                digit = count % 10;
                digit = digit | 0xB0;
                panel_put(15, row, digit);
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
