/* What is said: texts of the story, page by page, and lines composed on the spot. One operation per statement
   (tallgrass/README.md). */
#include "dialog.h"
#include "ids.h"
#include "panel.h"
#include "screen.h"
#include "system.h"

char text_name[9];
static uint8_t text_at; /* next free place in text[] */

void text_draw(uint8_t row) {
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
    text_id = TEXT_COMPOSED;
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
    uint16_t place = offset_from(BANK_TEXT, text_offset, id);
    copy_from(BANK_TEXT, text_data + place, buffer, TEXT_LONGEST);
    text_id = id;
    text_page = 0;
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
    for (;;) {
        at = text_page_at(at);
        compose_show();
        if (at == 0) break;
        text_page++;
    }
    panel_close();
}

/* The first page of a text becomes text[]; nothing is drawn. */
void text_first_page(uint8_t id) {
    text_fetch(id);
    text_page_at(0);
}

/* {mon} in the next texts stands for this name (9 bytes, ended by a 0). */
void text_name_set(const uint8_t *name) {
    uint8_t i;
    for (i = 0; i < 9; i++) text_name[i] = name[i];
}
