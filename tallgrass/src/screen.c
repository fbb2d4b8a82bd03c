/* The background layer as a text screen: cells, words, numbers, pictures. One operation per statement (tallgrass/README.md). */
#include "screen.h"
#include "ids.h"
#include "system.h"

#define PICTURE_SIDE 5

/* The place of a cell in a layer of 32 x 32 (BG_MAP or WINDOW_MAP). */
uint8_t *cell_at(uint8_t *layer, uint8_t column, uint8_t row) {
    uint16_t place = row;
    place = place << 5;
    place = place + column;
    return layer + place;
}

void cells_print(uint8_t *cell, const char *string) {
    uint8_t letter;
    for (;;) {
        letter = *string;
        if (letter == 0) return;
        letter = letter | 0x80;
        video_put(cell, letter);
        cell++;
        string++;
    }
}

/* Two digits. */
void cells_number(uint8_t *cell, uint8_t value) {
    uint8_t digit = value / 10;
    digit = digit % 10;
    digit = digit | 0xB0;
    video_put(cell, digit);
    digit = value % 10;
    digit = digit | 0xB0;
    cell++;
    video_put(cell, digit);
}

void screen_load_tiles(void) {
    copy_from(BANK_ART, ui_tiles, UI_TILES, 512);
    copy_from(BANK_ART, font_tiles, UI_TILES + 512, 1536);
}

/* Off with the picture, and everything on it gone. */
void screen_open(void) {
    uint16_t i;
    uint8_t *target = BG_MAP;
    lcd_off();
    hide_sprites();
    scroll_x = 0;
    scroll_y = 0;
    for (i = 0; i < 1024; i++) {
        *target = TILE_BLANK;
        target++;
    }
}

void background_put(uint8_t column, uint8_t row, uint8_t tile) {
    uint8_t *cell = cell_at(BG_MAP, column, row);
    video_put(cell, tile);
}

void background_print(uint8_t column, uint8_t row, const char *string) {
    uint8_t *cell = cell_at(BG_MAP, column, row);
    cells_print(cell, string);
}

void background_number(uint8_t column, uint8_t row, uint8_t value) {
    uint8_t *cell = cell_at(BG_MAP, column, row);
    cells_number(cell, value);
}

/* A picture's tiles become the map tiles from `first` on. */
void picture_load(uint8_t picture, uint8_t first) {
    uint16_t from = picture;
    uint16_t to = first;
    from = from * PIC_BYTES;
    to = to << 4;
    copy_to_video(BANK_PICS, pics + from, MAP_TILES + to, PIC_BYTES);
}

static void picture_cells(uint8_t column, uint8_t row, uint8_t tile, uint8_t step) {
    uint8_t y;
    uint8_t x;
    uint8_t *cell;
    for (y = 0; y < PICTURE_SIDE; y++) {
        cell = cell_at(BG_MAP, column, row);
        for (x = 0; x < PICTURE_SIDE; x++) {
            video_put(cell, tile);
            cell++;
            tile = tile + step;
        }
        row++;
    }
}

void picture_put(uint8_t column, uint8_t row, uint8_t first) {
    picture_cells(column, row, first, 1);
}

void picture_erase(uint8_t column, uint8_t row) {
    picture_cells(column, row, TILE_BLANK, 0);
}
