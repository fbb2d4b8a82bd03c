/* What has happened so far: one flag for each event. */
#ifndef EVENTS_H
#define EVENTS_H
#include <stdint.h>

uint8_t event_is_set(uint8_t event);
void event_mark(uint8_t event);
#endif
