/* Menus: a cursor over a grid of positions, lists, questions. */
#ifndef MENU_H
#define MENU_H
#include <stdint.h>

#define MENU_BACK 0xFF /* B was pressed */

uint8_t grid_choose(uint8_t kind, uint8_t columns, uint8_t n, uint8_t (*column_of)(uint8_t), uint8_t (*row_of)(uint8_t),
                    void (*put)(uint8_t column, uint8_t row, uint8_t tile));
uint8_t list_choose(uint8_t kind, const char *items, const uint8_t *counts, uint8_t n);
uint8_t bag_choose(uint8_t kind);
uint8_t yes_no(uint8_t row);
uint8_t text_ask(uint8_t id);
#endif
