/* The world at work: the map with its people on the screen, and one tick of both. */
#ifndef WORLD_H
#define WORLD_H
#include <stdint.h>

void world_load(uint8_t id, uint8_t x, uint8_t y, uint8_t toward);
void world_show(void);
void world_refresh(void);
uint8_t tiles_ahead(void);
void world_step(uint8_t tiles);
uint8_t facing_x(void);
uint8_t facing_y(void);
#endif
