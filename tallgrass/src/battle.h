/* Turn-based battles and the monsters' numbers. */
#ifndef BATTLE_H
#define BATTLE_H
#include <stdint.h>
#include "wram.h"

void monster_make(Monster *monster, uint8_t species, uint8_t level);
void battle_wild(uint8_t table);
uint8_t rival_species(void);
void battle_rival(void);
void use_potion(Monster *monster);
#endif
