/* The background layer as a text screen: cells, words, numbers, pictures. */
#ifndef SCREEN_H
#define SCREEN_H
#include <stdint.h>

/* Tiles that are always there: boxes, marks, letters (a letter's tile is its ASCII code | 0x80). */
#define TILE_BLANK 0x80
#define TILE_BOX_TL 0x82
#define TILE_BOX_T 0x83
#define TILE_BOX_TR 0x84
#define TILE_BOX_L 0x85
#define TILE_BOX_R 0x86
#define TILE_BOX_BL 0x87
#define TILE_BOX_B 0x88
#define TILE_BOX_BR 0x89
#define TILE_CURSOR 0x8A
#define TILE_MORE 0x8B
#define TILE_BAR_LEFT 0x8C
#define TILE_BAR_0 0x8D
#define TILE_BAR_RIGHT 0x96
#define TILE_LEVEL 0x97
#define TILE_ICON 0x98
#define TILE_SLOT 0x9D
#define TILE_MARKER 0x9E
#define TILE_SUN 0x9F
#define TILE_COMPASS 0x7C /* after the map's own tiles */

uint8_t *cell_at(uint8_t *layer, uint8_t column, uint8_t row);
void cells_print(uint8_t *cell, const char *string);
void cells_number(uint8_t *cell, uint8_t value);
void screen_load_tiles(void);
void screen_open(void);
void background_put(uint8_t column, uint8_t row, uint8_t tile);
void background_print(uint8_t column, uint8_t row, const char *string);
void background_number(uint8_t column, uint8_t row, uint8_t value);
void picture_load(uint8_t picture, uint8_t first);
void picture_put(uint8_t column, uint8_t row, uint8_t first);
void picture_erase(uint8_t column, uint8_t row);
#endif
