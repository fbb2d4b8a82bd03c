/* Maps, the scrolling picture, people, steps, warps. */
#ifndef OVERWORLD_H
#define OVERWORLD_H
#include <stdint.h>

void map_enter(uint8_t id, uint8_t x, uint8_t y, uint8_t toward);
void map_show(void);
void map_refresh(void);
void sprites_draw(void);
void overworld_run(void);
void go_home(void);
#endif
