/* Turn-based battles. One operation per statement (tallgrass/README.md).

   A turn: the player picks FIGHT, BAG, CATCH or RUN; the faster monster acts first; every action is one page of text,
   shown after its effect, so that the picture always shows where things stand. The enemy picks any move that has PP. */
#include "battle.h"
#include "ids.h"
#include "overworld.h"
#include "screens.h"
#include "story.h"
#include "system.h"
#include "ui.h"

#define ENEMY_TILE 0
#define PLAYER_TILE 25
#define PICTURE_BYTES 400
#define BAR_SEGMENTS 8
#define SPECIES_BYTES 16
#define MOVE_BYTES 8
#define EFFECT_WEAKEN 1
#define EFFECT_REST 2
#define POTION_HEALS 20
#define MAX_LEVEL 30
#define MAX_WEAKENED 2

/* What the player does in a turn. */
#define DO_MOVE 0
#define DO_CATCH 1
#define DO_RUN 2
#define DO_POTION 3

static uint8_t chosen_slot;

static const uint8_t *species_entry(uint8_t species) {
    uint16_t place = species - 1;
    place = place << 4;
    return species_data + place;
}

static const uint8_t *move_entry(uint8_t move) {
    uint16_t place = move - 1;
    place = place << 3;
    return move_data + place;
}

static const char *species_name(uint8_t species) {
    uint16_t place = species - 1;
    place = place * 9;
    return (const char *)species_names + place;
}

static const char *move_name(uint8_t move) {
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

static void monster_numbers(Monster *monster) {
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

void monster_make(Monster *monster, uint8_t species, uint8_t level) {
    const uint8_t *entry = species_entry(species);
    const uint8_t *move;
    uint8_t i;
    uint8_t id;
    uint8_t pp;
    monster->species = species;
    monster->level = level;
    monster->status = 0;
    monster->xp = 0;
    monster_numbers(monster);
    monster->hp = monster->max_hp;
    for (i = 0; i < 4; i++) {
        id = entry[6 + i];
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

/* ---- picture ---- */

static void bar_draw(uint8_t column, uint8_t row, Monster *monster) {
    uint16_t pixels = monster->hp;
    uint16_t most = monster->max_hp;
    uint8_t left;
    uint8_t i;
    uint8_t fill;
    pixels = pixels << 6;
    pixels = pixels / most;
    left = (uint8_t)pixels;
    if (left == 0) {
        if (monster->hp) left = 1;
    }
    background_put(column, row, TILE_BAR_LEFT);
    column++;
    for (i = 0; i < BAR_SEGMENTS; i++) {
        fill = left;
        if (fill > 8) fill = 8;
        left = left - fill;
        background_put(column, row, TILE_BAR_0 + fill);
        column++;
    }
    background_put(column, row, TILE_BAR_RIGHT);
}

static void number_draw(uint8_t column, uint8_t row, uint8_t value) {
    uint8_t digit = value / 10;
    digit = digit % 10;
    digit = digit | 0xB0;
    background_put(column, row, digit);
    digit = value % 10;
    digit = digit | 0xB0;
    column++;
    background_put(column, row, digit);
}

static void status_draw(void) {
    Monster *mine = party + active;
    bar_draw(1, 2, &enemy);
    bar_draw(9, 9, mine);
    number_draw(10, 10, mine->hp);
    background_put(12, 10, '/' | 0x80);
    number_draw(13, 10, mine->max_hp);
}

static void picture_draw(uint8_t column, uint8_t row, uint8_t first) {
    uint8_t y;
    uint8_t x;
    uint8_t right;
    uint8_t tile = first;
    for (y = 0; y < 5; y++) {
        right = column;
        for (x = 0; x < 5; x++) {
            background_put(right, row, tile);
            tile++;
            right++;
        }
        row++;
    }
}

static void picture_erase(uint8_t column, uint8_t row) {
    uint8_t y;
    uint8_t x;
    uint8_t right;
    for (y = 0; y < 5; y++) {
        right = column;
        for (x = 0; x < 5; x++) {
            background_put(right, row, TILE_BLANK);
            right++;
        }
        row++;
    }
}

static void enemy_draw(void) {
    uint16_t place = PIC_FRONT(enemy.species);
    place = place * PICTURE_BYTES;
    copy_to_video(BANK_PICS, pics + place, MAP_TILES, PICTURE_BYTES);
    background_print(1, 0, "         ");
    background_print(1, 0, species_name(enemy.species));
    background_put(1, 1, TILE_LEVEL);
    number_draw(2, 1, enemy.level);
    picture_draw(14, 0, ENEMY_TILE);
}

static void mine_draw(void) {
    Monster *mine = party + active;
    uint16_t place = PIC_BACK(mine->species);
    place = place * PICTURE_BYTES;
    copy_to_video(BANK_PICS, pics + place, MAP_TILES + PICTURE_BYTES, PICTURE_BYTES);
    background_print(9, 7, "         ");
    background_print(9, 7, species_name(mine->species));
    background_put(9, 8, TILE_LEVEL);
    number_draw(10, 8, mine->level);
    picture_draw(1, 7, PLAYER_TILE);
}

static void screen_open(void) {
    lcd_off();
    mode = MODE_BATTLE;
    hide_sprites();
    scroll_x = 0;
    scroll_y = 0;
    background_clear();
    enemy_draw();
    mine_draw();
    status_draw();
    story_objective();
    strip_draw();
    panel_open(4);
    lcd_on();
}

static void say_name(uint8_t species, const char *words) {
    compose_start();
    compose(species_name(species));
    compose(words);
}

/* ---- one action ---- */

/* Damage of a move; 0 = missed. */
static uint8_t damage_of(Monster *attacker, Monster *target, uint8_t move, uint8_t weakened, uint8_t factor) {
    const uint8_t *entry = move_entry(move);
    const uint8_t *own = species_entry(attacker->species);
    uint16_t damage;
    uint16_t wide;
    uint8_t roll = random_below(100);
    if (roll >= entry[2]) return 0;
    damage = attacker->level;
    damage = damage << 1;
    damage = damage / 5;
    damage = damage + 2;
    wide = entry[1];
    damage = damage * wide;
    wide = attacker->attack;
    damage = damage * wide;
    wide = target->defense;
    damage = damage / wide;
    damage = damage / 50;
    damage = damage + 2;
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
    if (damage > 250) damage = 250;
    roll = random_below(39);
    wide = 217;
    wide = wide + roll;
    damage = damage * wide;
    damage = damage >> 8;
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
    if (slot < 4) {
        move = attacker->moves[slot];
        attacker->pp[slot]--;
    }
    entry = move_entry(move);
    effect = entry[4];
    say_name(attacker->species, ":");
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
            slot = 4;
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

/* ---- choosing ---- */

static uint8_t battle_column(uint8_t item) {
    if (item & 1) return 10;
    return 1;
}

static uint8_t battle_row(uint8_t item) {
    if (item & 2) return 2;
    return 1;
}

static uint8_t choose_command(void) {
    uint8_t picked;
    panel_open(4);
    panel_print(2, 1, "FIGHT");
    panel_print(11, 1, "BAG");
    panel_print(2, 2, "CATCH");
    panel_print(11, 2, "RUN");
    cursor = 0;
    picked = grid_choose(MENU_BATTLE, 2, 4, battle_column, battle_row, panel_put);
    cursor = 0;
    return picked;
}

/* Pick a move; 0 = went back. */
static uint8_t choose_move(void) {
    Monster *mine = party + active;
    uint8_t i;
    uint8_t column;
    uint8_t row;
    uint8_t digit;
    uint8_t picked;
    uint8_t any = 0;
    for (i = 0; i < 4; i++) {
        if (mine->moves[i]) {
            if (mine->pp[i]) any = 1;
        }
    }
    if (!any) {
        chosen_slot = 4;
        return 1;
    }
    for (;;) {
        panel_open(4);
        for (i = 0; i < 4; i++) {
            if (mine->moves[i]) {
                column = battle_column(i) + 1;
                row = battle_row(i);
                panel_print(column, row, move_name(mine->moves[i]));
                column += 6;
                digit = mine->pp[i] / 10;
                digit = digit | 0xB0;
                panel_put(column, row, digit);
                column++;
                digit = mine->pp[i] % 10;
                digit = digit | 0xB0;
                panel_put(column, row, digit);
            }
        }
        cursor = 0;
        picked = grid_choose(MENU_MOVES, 2, 4, battle_column, battle_row, panel_put);
        cursor = 0;
        if (picked == 0xFF) return 0;
        if (mine->moves[picked]) {
            if (mine->pp[picked]) {
                chosen_slot = picked;
                return 1;
            }
        }
        compose_start();
        compose("No PP left for it.");
        compose_show();
    }
}

static uint8_t can_throw(void) {
    compose_start();
    if (battle_kind == BATTLE_TRAINER) {
        compose("That one has");
        compose_line();
        compose("a friend already.");
        compose_show();
        return 0;
    }
    if (bag[BAG_BALL] == 0) {
        compose("You have no balls.");
        compose_show();
        return 0;
    }
    return 1;
}

/* Which monster a potion would help; only the one that fights. */
static uint8_t can_drink(void) {
    Monster *mine = party + active;
    if (bag[BAG_POTION]) {
        if (mine->hp < mine->max_hp) return 1;
    }
    compose_start();
    compose("That has no use now.");
    compose_show();
    return 0;
}

static uint8_t choose_action(void) {
    uint8_t picked;
    uint8_t counts[3];
    for (;;) {
        picked = choose_command();
        if (picked == 0) {
            if (choose_move()) return DO_MOVE;
        } else if (picked == 1) {
            counts[0] = bag[BAG_POTION];
            counts[1] = bag[BAG_BALL];
            counts[2] = 0xFF;
            picked = list_choose(MENU_BATTLE_BAG, bag_items, counts, 3);
            if (picked == 0) {
                if (can_drink()) return DO_POTION;
            } else if (picked == 1) {
                if (can_throw()) return DO_CATCH;
            }
        } else if (picked == 2) {
            if (can_throw()) return DO_CATCH;
        } else if (picked == 3) {
            if (battle_kind == BATTLE_WILD) return DO_RUN;
            compose_start();
            compose("You can't run");
            compose_line();
            compose("from this battle!");
            compose_show();
        }
    }
}

void use_potion(Monster *monster) {
    uint8_t missing = monster->max_hp - monster->hp;
    uint8_t gain = POTION_HEALS;
    if (gain > missing) gain = missing;
    monster->hp += gain;
    if (mode == MODE_BATTLE) status_draw();
    say_name(monster->species, " drinks.");
    compose_line();
    compose("HP +");
    compose_number(gain);
    compose_show();
    if (mode == MODE_OVERWORLD) panel_close();
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
    story_objective();
    strip_draw();
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
    picture_erase(14, 0);
    say_name(enemy.species, "");
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
        number_draw(10, 8, mine->level);
        status_draw();
        say_name(mine->species, " is now");
        compose_line();
        compose("level ");
        compose_number(mine->level);
        compose("!");
        compose_show();
    }
}

static void keep_caught(void) {
    uint8_t i;
    uint8_t *source = (uint8_t *)&enemy;
    uint8_t *target;
    if (party_count < 6) {
        target = (uint8_t *)(party + party_count);
        for (i = 0; i < sizeof(Monster); i++) target[i] = source[i];
        party_count++;
    }
}

/* The next monster steps in; 0 = there is none. */
static uint8_t next_monster(void) {
    uint8_t index = party_alive();
    if (index == 0xFF) return 0;
    active = index;
    player_weakened = 0;
    mine_draw();
    status_draw();
    say_name(party[active].species, "");
    compose_line();
    compose("steps in!");
    compose_show();
    return 1;
}

/* The battle with enemy; sets battle_result. */
static void battle_run(uint8_t kind, const char *opening) {
    uint8_t action;
    Monster *mine;
    uint8_t mine_first;
    battle_kind = kind;
    battle_result = RESULT_NONE;
    player_weakened = 0;
    enemy_weakened = 0;
    active = party_alive();
    screen_open();
    compose_start();
    compose(opening);
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
            bag[BAG_POTION]--;
            use_potion(mine);
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
            picture_erase(14, 0);
            say_name(enemy.species, "");
            compose_line();
            compose("is worn out.");
            compose_show();
            if (mine->hp) gain_experience();
            battle_result = RESULT_WON;
            break;
        }
        if (mine->hp == 0) {
            picture_erase(1, 7);
            say_name(mine->species, "");
            compose_line();
            compose("is worn out.");
            compose_show();
            if (!next_monster()) battle_result = RESULT_LOST;
        }
    }
    battle_kind = BATTLE_NONE;
    if (battle_result == RESULT_LOST) {
        text_show(T_LOST);
        go_home();
        return;
    }
    map_show();
}

void battle_wild(uint8_t table) {
    uint16_t place = table;
    uint8_t roll = random_byte();
    uint8_t i;
    uint8_t weight;
    uint8_t species;
    uint8_t level;
    uint8_t range;
    const uint8_t *entry;
    place = place << 4;
    entry = encounter_tables + place;
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
    battle_trainer = 0;
    battle_run(BATTLE_WILD, "Out of the grass:");
    if (battle_result == RESULT_CAUGHT) {
        uint8_t first = event_is_set(EV_FIRST_CATCH);
        keep_caught();
        if (!first) {
            story_mark(EV_FIRST_CATCH);
            text_name_species(enemy.species);
            text_show(T_CAUGHT_END);
        } else {
            map_refresh();
        }
    } else if (battle_result != RESULT_LOST) {
        map_refresh();
    }
}

/* The rival takes the monster that beats the player's first one. */
uint8_t rival_species(void) {
    uint8_t species = party[0].species;
    species++;
    if (species > 3) species = 1;
    return species;
}

void battle_rival(void) {
    const uint8_t *entry = trainer_data; /* species (0: the one that beats the player's), level, money, picture */
    monster_make(&enemy, rival_species(), entry[1]);
    battle_trainer = TRAINER_RIVAL;
    battle_run(BATTLE_TRAINER, "BRAM sends out");
    if (battle_result == RESULT_WON) money = money + entry[2];
}
