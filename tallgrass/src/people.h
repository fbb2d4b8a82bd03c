/* The people on a map and the player, as figures: where they stand and walk, whom they see. */
#ifndef PEOPLE_H
#define PEOPLE_H
#include <stdint.h>

#define NOBODY 0xFF

void people_load(void);
void people_refresh(void);
uint8_t people_decide(uint8_t old_x, uint8_t old_y);
uint8_t person_at(uint8_t x, uint8_t y);
uint8_t person_who_sees(uint8_t from);
void sprites_draw(void);
void sprite_mark(uint8_t person);
void walk_begin(uint8_t tiles);
void walk_frame(void);
void walk_end(void);
#endif
