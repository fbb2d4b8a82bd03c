/* Turn-based battles. One operation per statement (tallgrass/README.md).

   A turn: the player picks FIGHT, BAG, CATCH or RUN; the faster monster acts first; every action is one page of text,
   shown after its effect, so that the picture always shows where things stand. The enemy picks any move that has PP. */
#include "battle.h"
#include "battle_menu.h"
#include "battle_view.h"
#include "dialog.h"
#include "ids.h"
#include "image.h"
#include "monsters.h"
#include "panel.h"
#include "system.h"

#define EFFECT_WEAKEN 1
#define EFFECT_REST 2
#define MAX_LEVEL 30
#define MAX_WEAKENED 2
#define MOST_QUARTERS 1000

/* ---- one action ---- */

/* Damage of a move; 0 = missed. */
static uint8_t damage_of(Monster *attacker, Monster *target, uint8_t move, uint8_t weakened, uint8_t factor) {
    const uint8_t *entry = move_entry(move);
    const uint8_t *own = species_entry(attacker->species);
    uint16_t damage;
    uint16_t wide;
    uint8_t roll = random_below(100);
    if (roll >= entry[2]) return 0;
    /* In quarters: (2 level + 10) * power / 8 * attack / defense / 5 */
    damage = attacker->level;
    damage = damage << 1;
    damage = damage + 10;
    wide = entry[1];
    damage = damage * wide;
    damage = damage >> 3;
    wide = attacker->attack;
    damage = damage * wide;
    wide = target->defense;
    damage = damage / wide;
    damage = damage / 5;
    while (weakened) {
        wide = damage >> 2;
        damage = damage - wide;
        weakened--;
    }
    if (own[0] == entry[0]) {
        wide = damage >> 1;
        damage = damage + wide;
    }
    wide = factor;
    damage = damage * wide;
    damage = damage >> 3;
    if (damage > MOST_QUARTERS) damage = MOST_QUARTERS;
    /* 27 to 31 of 32; what is left over counts by chance, or else small numbers would all be rounded down. */
    roll = random_below(5);
    wide = 27;
    wide = wide + roll;
    damage = damage * wide;
    roll = random_byte();
    roll = roll >> 1;
    wide = roll;
    damage = damage + wide;
    damage = damage >> 7;
    if (damage == 0) damage = 1;
    return (uint8_t)damage;
}

static uint8_t type_factor(uint8_t move, uint8_t species) {
    const uint8_t *entry = move_entry(move);
    const uint8_t *target = species_entry(species);
    uint8_t row = entry[0];
    row = row << 2;
    row = row + target[0];
    return type_chart[row];
}

/* One monster uses a move on the other; tells what happened in one page. */
static void act(Monster *attacker, Monster *target, uint8_t slot, uint8_t *own_weakened, uint8_t *target_weakened) {
    uint8_t move = MV_STRUGGLE;
    const uint8_t *entry;
    uint8_t effect;
    uint8_t damage;
    uint8_t factor;
    if (slot < SLOT_NONE) {
        move = attacker->moves[slot];
        attacker->pp[slot]--;
    }
    entry = move_entry(move);
    effect = entry[4];
    tell_name(attacker->species, ":");
    compose(move_name(move));
    compose("!");
    compose_line();
    if (effect == EFFECT_WEAKEN) {
        if (*target_weakened < MAX_WEAKENED) {
            (*target_weakened)++;
            compose("Attack fell.");
        } else {
            compose("No effect.");
        }
    } else if (effect == EFFECT_REST) {
        damage = attacker->max_hp >> 1;
        factor = attacker->max_hp - attacker->hp;
        if (damage > factor) damage = factor;
        attacker->hp += damage;
        compose("It rested a while.");
    } else {
        factor = type_factor(move, target->species);
        damage = damage_of(attacker, target, move, *own_weakened, factor);
        if (damage == 0) {
            compose("It missed.");
        } else {
            if (damage > target->hp) damage = target->hp;
            target->hp -= damage;
            if (factor > 8) compose("A strong hit!");
            if (factor < 8) compose("A weak hit.");
        }
    }
    status_draw();
    compose_show();
}

static void enemy_acts(void) {
    Monster *mine = party + active;
    uint8_t slot;
    uint8_t tries = 0;
    if (enemy.hp == 0) return;
    if (mine->hp == 0) return;
    for (;;) {
        slot = random_byte() & 3;
        if (enemy.moves[slot]) {
            if (enemy.pp[slot]) break;
        }
        tries++;
        if (tries > 40) {
            slot = SLOT_NONE;
            break;
        }
    }
    act(&enemy, mine, slot, &enemy_weakened, &player_weakened);
}

static void mine_acts(void) {
    Monster *mine = party + active;
    if (enemy.hp == 0) return;
    if (mine->hp == 0) return;
    act(mine, &enemy, chosen_slot, &player_weakened, &enemy_weakened);
}

/* 1 = caught. */
static uint8_t throw_ball(void) {
    const uint8_t *entry = species_entry(enemy.species);
    uint16_t chance = enemy.max_hp;
    uint16_t wide = enemy.hp;
    uint16_t most;
    uint8_t roll = random_byte();
    bag[BAG_BALL]--;
    /* The strip says at once that there are none left. */
    strip_update();
    /* (3 max - 2 hp) / 3 max of the species' rate */
    most = chance;
    most = most + chance;
    most = most + chance;
    wide = wide << 1;
    chance = most - wide;
    wide = entry[5];
    chance = chance * wide;
    chance = chance / most;
    if (roll > (uint8_t)chance) {
        compose_start();
        compose("The ball bursts");
        compose_line();
        compose("open!");
        compose_show();
        return 0;
    }
    enemy_erase();
    tell_name(enemy.species, "");
    compose_line();
    compose("was caught!");
    compose_show();
    return 1;
}

static uint8_t run_away(void) {
    Monster *mine = party + active;
    uint8_t roll = random_byte() & 3;
    compose_start();
    if (mine->speed >= enemy.speed) roll = 1;
    if (roll == 0) {
        compose("You can't get away!");
        compose_show();
        return 0;
    }
    compose("You got away.");
    compose_show();
    return 1;
}

/* ---- after the blows ---- */

static void gain_experience(void) {
    Monster *mine = party + active;
    uint16_t gained = enemy.level;
    uint16_t needed;
    uint8_t before;
    gained = gained << 3;
    if (battle_kind == BATTLE_TRAINER) gained = gained << 1;
    mine->xp = mine->xp + gained;
    for (;;) {
        if (mine->level >= MAX_LEVEL) return;
        needed = mine->level;
        needed = needed * 12;
        if (mine->xp < needed) return;
        mine->xp = mine->xp - needed;
        mine->level++;
        before = mine->max_hp;
        monster_numbers(mine);
        before = mine->max_hp - before;
        mine->hp = mine->hp + before;
        mine_level_draw();
        status_draw();
        tell_name(mine->species, " is now");
        compose_line();
        compose("level ");
        compose_number(mine->level);
        compose("!");
        compose_show();
    }
}

/* The next monster steps in; 0 = there is none. */
static uint8_t next_monster(void) {
    uint8_t index = party_alive();
    if (index == NOBODY_LEFT) return 0;
    active = index;
    player_weakened = 0;
    mine_draw();
    status_draw();
    tell_name(party[active].species, "");
    compose_line();
    compose("steps in!");
    compose_show();
    return 1;
}

/* The battle with `enemy`; sets battle_result and leaves the picture of the battle standing. */
static void battle_run(uint8_t kind, const char *opening, const char *opening_rest) {
    uint8_t action;
    Monster *mine;
    uint8_t mine_first;
    uint8_t gain;
    battle_kind = kind;
    battle_result = RESULT_NONE;
    player_weakened = 0;
    enemy_weakened = 0;
    active = party_alive();
    battle_view_open();
    compose_start();
    compose(opening);
    compose(opening_rest);
    compose_line();
    compose(species_name(enemy.species));
    compose("!");
    compose_show();
    while (battle_result == RESULT_NONE) {
        action = choose_action();
        mine = party + active;
        if (action == DO_RUN) {
            if (run_away()) {
                battle_result = RESULT_FLED;
                break;
            }
            enemy_acts();
        } else if (action == DO_CATCH) {
            if (throw_ball()) {
                battle_result = RESULT_CAUGHT;
                break;
            }
            enemy_acts();
        } else if (action == DO_POTION) {
            gain = monster_drink(mine);
            status_draw();
            tell_drink(mine, gain);
            enemy_acts();
        } else {
            mine_first = 1;
            if (enemy.speed > mine->speed) mine_first = 0;
            if (enemy.speed == mine->speed) mine_first = random_byte() & 1;
            if (mine_first) {
                mine_acts();
                enemy_acts();
            } else {
                enemy_acts();
                mine_acts();
            }
        }
        if (enemy.hp == 0) {
            enemy_erase();
            tell_name(enemy.species, "");
            compose_line();
            compose("is worn out.");
            compose_show();
            if (mine->hp) gain_experience();
            battle_result = RESULT_WON;
            break;
        }
        if (mine->hp == 0) {
            mine_erase();
            tell_name(mine->species, "");
            compose_line();
            compose("is worn out.");
            compose_show();
            if (!next_monster()) battle_result = RESULT_LOST;
        }
    }
    battle_kind = BATTLE_NONE;
}

void battle_wild(uint8_t table) {
    uint8_t roll = random_byte();
    uint8_t i;
    uint8_t weight;
    uint8_t species;
    uint8_t level;
    uint8_t range;
    const uint8_t *entry;
    entry = encounter_source(table);
    for (i = 0; i < 3; i++) {
        weight = entry[3];
        if (roll < weight) break;
        roll = roll - weight;
        entry += 4;
    }
    species = entry[0];
    level = entry[1];
    range = entry[2] - level;
    range++;
    range = random_below(range);
    level = level + range;
    monster_make(&enemy, species, level);
    battle_with = 0;
    battle_run(BATTLE_WILD, "Out of the grass:", "");
    if (battle_result == RESULT_CAUGHT) party_add(&enemy);
}

/* A trainer's monster is as far along as the player's first one, give or take what data/monsters.toml says. */
void battle_trainer(uint8_t trainer) {
    uint8_t shift = trainer_shift(trainer);
    uint8_t species = trainer_species(trainer);
    uint8_t level = party[0].level;
    uint16_t place = trainer - 1;
    uint16_t hp;
    uint16_t sixteenths;
    const uint8_t *entry;
    const uint8_t *of_shift;
    place = place << 3;
    entry = trainer_data + place; /* shift, levels above the player's for each shift, HP in sixteenths for each shift, money */
    of_shift = entry + shift;
    level = level + of_shift[1];
    monster_make(&enemy, species, level);
    hp = enemy.max_hp;
    sixteenths = of_shift[4];
    hp = hp * sixteenths;
    hp = hp >> 4;
    if (hp > 255) hp = 255;
    enemy.max_hp = (uint8_t)hp;
    enemy.hp = enemy.max_hp;
    monster_moves(&enemy, trainer_moves);
    battle_with = trainer;
    place = trainer - 1;
    place = place * TRAINER_NAME_SIZE;
    text_name_set(trainer_names + place);
    battle_run(BATTLE_TRAINER, text_name, " sends out");
    if (battle_result == RESULT_WON) money = money + entry[7];
}
