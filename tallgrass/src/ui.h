/* The panel at the bottom of the screen: objective strip, texts, lists, questions. */
#ifndef UI_H
#define UI_H
#include <stdint.h>

#define TILE_BLANK 0x80
#define TILE_SOLID 0x81
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
#define TILE_BALL 0x9C
#define TILE_SLOT 0x9D
#define TILE_MARKER 0x9E
#define TILE_SUN 0x9F

#define TEXT_BATTLE 0xFF /* text_id of texts that the program composes */

void ui_load_tiles(void);
void strip_draw(void);
void panel_open(uint8_t rows);
void panel_close(void);
void panel_put(uint8_t column, uint8_t row, uint8_t tile);
void panel_print(uint8_t column, uint8_t row, const char *string);
void background_put(uint8_t column, uint8_t row, uint8_t tile);
void background_print(uint8_t column, uint8_t row, const char *string);
void background_clear(void);
void text_show(uint8_t id);
uint8_t text_ask(uint8_t id);
void compose_start(void);
void compose_line(void);
void compose(const char *string);
void compose_number(uint8_t value);
void compose_show(void);
uint8_t list_choose(uint8_t kind, const char *items, const uint8_t *counts, uint8_t n);
uint8_t grid_choose(uint8_t kind, uint8_t columns, uint8_t n, uint8_t (*column_of)(uint8_t), uint8_t (*row_of)(uint8_t),
                    void (*put)(uint8_t column, uint8_t row, uint8_t tile));
uint8_t yes_no(uint8_t row);
extern char text_name[9]; /* what placeholder 2 in a text stands for */
#endif
