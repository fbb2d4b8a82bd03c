/* The map one is on: its tiles, gates and warps, and the ring of tiles in video memory that shows them. */
#ifndef MAP_H
#define MAP_H
#include <stdint.h>

#define NO_WARP 0xFF

/* What a metatile is, by its number: floor, then these. */
#define FIRST_GRASS 0x20
#define FIRST_LEDGE 0x28
#define FIRST_WARP 0x30
#define FIRST_SOLID 0x40

void map_load(uint8_t id);
void map_draw(void);
void map_row_draw(uint8_t y);
void map_column_draw(uint8_t x);
void gates_apply(uint8_t draw);
uint8_t metatile_at(uint8_t x, uint8_t y);
uint8_t warp_at(uint8_t x, uint8_t y);
extern const int8_t direction_x[4];
extern const int8_t direction_y[4];
#endif
