/* The cartridge-RAM image: another world, a start in the middle of the story, and how the game is to be played. */
#ifndef IMAGE_H
#define IMAGE_H
#include <stdint.h>

#define IMAGE_STILL 1 /* people stand still */
#define IMAGE_HIDE 2  /* the strip doesn't repeat what was said or read */
#define IMAGE_STAGE 4 /* the image says where the story stands */
#define IMAGE_MAPS 8  /* the image holds a world */
#define IMAGE_NO_COMPASS 16 /* the strip does not draw the arrow; the memory keeps it */

void image_read(void);
void image_stage(void);
const uint8_t *map_source(uint8_t id);
const uint8_t *encounter_source(uint8_t table);
uint8_t trainer_shift(uint8_t trainer);
extern uint8_t start_x;
extern uint8_t start_y;
#endif
