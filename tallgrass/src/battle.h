/* Turn-based battles. What comes of one is in battle_result; going back to the map is the caller's part. */
#ifndef BATTLE_H
#define BATTLE_H
#include <stdint.h>

void battle_wild(uint8_t table);
void battle_trainer(uint8_t trainer);
#endif
