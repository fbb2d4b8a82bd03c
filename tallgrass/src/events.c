/* What has happened so far: one flag for each event. One operation per statement (tallgrass/README.md). */
#include "events.h"
#include "wram.h"

static const uint8_t bit_masks[8] = {1, 2, 4, 8, 16, 32, 64, 128};

uint8_t event_is_set(uint8_t event) {
    uint8_t index = event >> 3;
    uint8_t bit = event & 7;
    uint8_t flags = events[index];
    flags = flags & bit_masks[bit];
    return flags != 0;
}

void event_mark(uint8_t event) {
    uint8_t index = event >> 3;
    uint8_t bit = event & 7;
    uint8_t flags = events[index];
    flags = flags | bit_masks[bit];
    events[index] = flags;
}
