/* Monsters' numbers and names, and the player's party. */
#ifndef MONSTERS_H
#define MONSTERS_H
#include <stdint.h>
#include "wram.h"

#define NOBODY_LEFT 0xFF

const uint8_t *species_entry(uint8_t species);
const uint8_t *move_entry(uint8_t move);
const char *species_name(uint8_t species);
const char *move_name(uint8_t move);
void monster_make(Monster *monster, uint8_t species, uint8_t level);
void monster_moves(Monster *monster, const uint8_t *moves);
void monster_numbers(Monster *monster);
void moves_shuffle(Monster *monster);
uint8_t monster_drink(Monster *monster);
void tell_name(uint8_t species, const char *words);
void tell_drink(Monster *monster, uint8_t gain);
void party_add(Monster *monster);
void party_heal(void);
uint8_t party_alive(void);
uint8_t trainer_species(uint8_t trainer);
#endif
