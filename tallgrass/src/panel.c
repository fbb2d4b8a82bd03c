/* The window layer at the bottom of the screen: rows 0-1 hold the strip that says what to do, the rows below it the open
   panel, and the window's place (window_y) says how much of it shows. One operation per statement (tallgrass/README.md). */
#include "panel.h"
#include "ids.h"
#include "image.h"
#include "objective.h"
#include "screen.h"
#include "system.h"

#define STRIP_ROWS 2
#define PANEL_WIDTH 20
#define STRIP_Y 128
#define LINE_LENGTH 18
#define COMPASS_COLUMN 18

static uint8_t strip_shown; /* objective whose icon and words are drawn (0 is none, and has neither) */
static uint8_t compass_shown;

static uint8_t *panel_cell(uint8_t column, uint8_t row) {
    uint8_t below = row + STRIP_ROWS;
    return cell_at(WINDOW_MAP, column, below);
}

void panel_put(uint8_t column, uint8_t row, uint8_t tile) {
    uint8_t *cell = panel_cell(column, row);
    video_put(cell, tile);
}

void panel_print(uint8_t column, uint8_t row, const char *string) {
    uint8_t *cell = panel_cell(column, row);
    cells_print(cell, string);
}

void panel_number(uint8_t column, uint8_t row, uint8_t value) {
    uint8_t *cell = panel_cell(column, row);
    cells_number(cell, value);
}

static void panel_row(uint8_t row, uint8_t left, uint8_t middle, uint8_t right) {
    uint8_t *target = panel_cell(0, row);
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
static void strip_draw(void) {
    uint16_t place;
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
        cell = cell_at(WINDOW_MAP, 0, row);
        for (column = 0; column < PANEL_WIDTH; column++) {
            video_put(cell, TILE_BLANK);
            cell++;
        }
    }
    compass_shown = COMPASS_NONE; /* its place was cleared as well */
    letter = TILE_ICON;
    for (row = 0; row < STRIP_ROWS; row++) {
        cell = cell_at(WINDOW_MAP, 0, row);
        for (column = 0; column < 2; column++) {
            video_put(cell, letter);
            cell++;
            letter++;
        }
    }
    place = offset_from(BANK_TEXT, objective_offset, objective);
    copy_from(BANK_TEXT, objective_text + place, buffer, 40);
    /* The second line is drawn where the first one's end is marked. */
    row = 0;
    while (buffer[row] != '\n') row++;
    buffer[row] = 0;
    row++;
    cell = cell_at(WINDOW_MAP, 3, 0);
    cells_print(cell, (const char *)buffer);
    cell = cell_at(WINDOW_MAP, 3, 1);
    cells_print(cell, (const char *)buffer + row);
}

/* The arrow at the right end of the strip; only a map has one. */
static void compass_draw(void) {
    uint16_t place;
    uint8_t tile = TILE_BLANK;
    uint8_t row;
    uint8_t *cell;
    uint8_t wanted = compass; /* none where there is no map */
    uint8_t off = image_flags & IMAGE_NO_COMPASS;
    if (off) wanted = COMPASS_NONE;
    if (wanted == compass_shown) return;
    if (wanted) {
        place = wanted - 1;
        place = place << 6;
        copy_to_video(BANK_ART, compass_tiles + place, COMPASS_TILES, 64);
    }
    if (wanted == 0 || compass_shown == 0) {
        if (wanted) tile = TILE_COMPASS;
        for (row = 0; row < STRIP_ROWS; row++) {
            cell = cell_at(WINDOW_MAP, COMPASS_COLUMN, row);
            video_put(cell, tile);
            if (wanted) tile++;
            cell++;
            video_put(cell, tile);
            if (wanted) tile++;
        }
    }
    compass_shown = wanted;
}

/* What is to be done, and where, may have changed. */
void strip_update(void) {
    objective_update();
    compass_update();
    strip_draw();
    compass_draw();
}
