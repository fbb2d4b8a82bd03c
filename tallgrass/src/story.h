/* What happens when: events, objectives, people's scripts. */
#ifndef STORY_H
#define STORY_H
#include <stdint.h>

void story_mark(uint8_t event);
void story_objective(void);
void story_entered_map(void);
void story_stepped(void);
void script_run(uint8_t script);
void text_name_species(uint8_t species);
void party_heal(void);
uint8_t party_alive(void);
#endif
