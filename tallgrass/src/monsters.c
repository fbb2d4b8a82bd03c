/* Monsters' numbers and names, and the player's party. One operation per statement (tallgrass/README.md). */
#include "monsters.h"
#include "dialog.h"
#include "ids.h"
#include "image.h"
#include "system.h"

#define STARTERS 3 /* the first species, in the order of the types that beat each other */
#define PARTY_MOST 6
#define POTION_HEALS 20

const uint8_t *species_entry(uint8_t species) {
    uint16_t place = species - 1;
    place = place << 4;
    return species_data + place;
}

const uint8_t *move_entry(uint8_t move) {
    uint16_t place = move - 1;
    place = place << 3;
    return move_data + place;
}

const char *species_name(uint8_t species) {
    uint16_t place = species - 1;
    place = place * 9;
    return (const char *)species_names + place;
}

const char *move_name(uint8_t move) {
    uint16_t place = move - 1;
    place = place * 7;
    return (const char *)move_names + place;
}

/* base * level / 50 */
static uint8_t scaled(uint8_t base, uint8_t level) {
    uint16_t wide = base;
    uint16_t factor = level;
    wide = wide * factor;
    wide = wide / 50;
    return (uint8_t)wide;
}

void monster_numbers(Monster *monster) {
    const uint8_t *entry = species_entry(monster->species);
    uint8_t level = monster->level;
    uint8_t value = scaled(entry[1], level);
    value = value + level;
    value = value + 10;
    monster->max_hp = value;
    value = scaled(entry[2], level);
    monster->attack = value + 5;
    value = scaled(entry[3], level);
    monster->defense = value + 5;
    value = scaled(entry[4], level);
    monster->speed = value + 5;
}

/* Four moves (0: none), each with all its PP. */
void monster_moves(Monster *monster, const uint8_t *moves) {
    const uint8_t *move;
    uint8_t i;
    uint8_t id;
    uint8_t pp;
    for (i = 0; i < 4; i++) {
        id = moves[i];
        pp = 0;
        if (id) {
            move = move_entry(id);
            pp = move[3];
        }
        monster->moves[i] = id;
        monster->pp[i] = pp;
        monster->max_pp[i] = pp;
    }
}

void monster_make(Monster *monster, uint8_t species, uint8_t level) {
    const uint8_t *entry = species_entry(species);
    monster->species = species;
    monster->level = level;
    monster->status = 0;
    monster->xp = 0;
    monster_numbers(monster);
    monster->hp = monster->max_hp;
    entry += 6;
    monster_moves(monster, entry);
}

/* The order of a starter's moves is drawn, so that the first one is not always the same. */
void moves_shuffle(Monster *monster) {
    uint8_t last;
    uint8_t other;
    uint8_t kept;
    for (last = 3; last != 0; last--) {
        other = last + 1;
        other = random_below(other);
        kept = monster->moves[last];
        monster->moves[last] = monster->moves[other];
        monster->moves[other] = kept;
        kept = monster->pp[last];
        monster->pp[last] = monster->pp[other];
        monster->pp[other] = kept;
        monster->max_pp[last] = monster->pp[last];
        monster->max_pp[other] = monster->pp[other];
    }
}

/* Drink a potion; returns by how much it helps. */
uint8_t monster_drink(Monster *monster) {
    uint8_t gain = monster->max_hp - monster->hp;
    if (gain > POTION_HEALS) gain = POTION_HEALS;
    bag[BAG_POTION]--;
    monster->hp += gain;
    return gain;
}

void tell_name(uint8_t species, const char *words) {
    compose_start();
    compose(species_name(species));
    compose(words);
}

void tell_drink(Monster *monster, uint8_t gain) {
    tell_name(monster->species, " drinks.");
    compose_line();
    compose("HP +");
    compose_number(gain);
    compose_show();
}

/* One more in the party; if it is full, it goes its own way. */
void party_add(Monster *monster) {
    uint8_t i;
    uint8_t *source = (uint8_t *)monster;
    uint8_t *target = (uint8_t *)(party + party_count);
    if (party_count == PARTY_MOST) return;
    for (i = 0; i < sizeof(Monster); i++) target[i] = source[i];
    party_count++;
}

void party_heal(void) {
    uint8_t i;
    uint8_t k;
    Monster *monster = party;
    for (i = 0; i < party_count; i++) {
        monster->hp = monster->max_hp;
        for (k = 0; k < 4; k++) monster->pp[k] = monster->max_pp[k];
        monster++;
    }
}

/* Index of the first monster that can fight, NOBODY_LEFT if there is none. */
uint8_t party_alive(void) {
    uint8_t i;
    Monster *monster = party;
    for (i = 0; i < party_count; i++) {
        if (monster->hp) return i;
        monster++;
    }
    return NOBODY_LEFT;
}

/* The species of a trainer's monster: the starter `shift` types after the player's own. */
uint8_t trainer_species(uint8_t trainer) {
    uint8_t species = party[0].species;
    uint8_t shift = trainer_shift(trainer);
    species = species + shift;
    if (species > STARTERS) species = species - STARTERS;
    return species;
}
