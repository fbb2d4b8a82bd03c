/* What happens when: events, people's scripts, battles and what comes after them. */
#ifndef STORY_H
#define STORY_H
#include <stdint.h>

void story_enter_map(uint8_t id, uint8_t x, uint8_t y, uint8_t toward);
void story_stepped(void);
void story_encounter(void);
void script_run(uint8_t script);
uint8_t script_waits(uint8_t script);
#endif
