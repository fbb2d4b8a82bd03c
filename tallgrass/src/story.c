/* What happens when: events, objectives, people's scripts. One operation per statement (tallgrass/README.md). */
#include "story.h"
#include "battle.h"
#include "dialog.h"
#include "events.h"
#include "ids.h"
#include "menu.h"
#include "monsters.h"
#include "screens.h"
#include "system.h"
#include "world.h"

#define GIFT_BALLS 5

static void story_mark(uint8_t event) {
    event_mark(event);
    world_refresh();
}

/* Which of the two gaps in the wall across ROUTE_2 is open. */
static void fork_draw(void) {
    uint8_t draw = random_byte();
    if (event_is_set(EV_FORK_LEFT)) return;
    if (event_is_set(EV_FORK_RIGHT)) return;
    draw = draw & 0x80;
    if (draw) {
        event_mark(EV_FORK_RIGHT);
    } else {
        event_mark(EV_FORK_LEFT);
    }
}

/* The player has come to another map (nothing is drawn yet). */
static void entered_map(void) {
    switch (map) {
    case MAP_HOUSE_1F:
        event_mark(EV_WENT_DOWNSTAIRS);
        break;
    case MAP_TOWN:
        if (event_is_set(EV_TALKED_MOM)) event_mark(EV_LEFT_HOUSE);
        if (event_is_set(EV_MET_RIVAL)) event_mark(EV_EXIT_RIVAL_HOUSE);
        if (event_is_set(EV_RIVAL_BEATEN)) event_mark(EV_EXIT_LAB);
        break;
    case MAP_RIVAL_1F:
        event_mark(EV_RIVAL_HOUSE);
        break;
    case MAP_RIVAL_2F:
        event_mark(EV_RIVAL_BEDROOM);
        break;
    case MAP_LAB:
        event_mark(EV_LAB_ENTERED);
        if (wish == NOT_DRAWN) wish = random_below(3);
        break;
    case MAP_ROUTE_1:
        event_mark(EV_ROUTE_1);
        break;
    case MAP_TOWN_2:
        event_mark(EV_SECOND_TOWN);
        break;
    case MAP_ROUTE_2:
        event_mark(EV_ROUTE_2);
        fork_draw();
        break;
    case MAP_GYM:
        event_mark(EV_GYM_ENTERED);
        break;
    default:
        break;
    }
}

static void prof_asks(void) {
    text_show(T_ASK_LEAF + wish);
    story_mark(EV_ASKED);
}

void story_enter_map(uint8_t id, uint8_t x, uint8_t y, uint8_t toward) {
    world_load(id, x, y, toward);
    entered_map();
    world_show();
    if (map != MAP_LAB) return;
    if (event_is_set(EV_ASKED)) return;
    if (event_is_set(EV_GOT_STARTER)) return;
    text_show(T_PROF);
    prof_asks();
}

/* After a battle, whatever its result; 0 = it was lost, and one wakes up elsewhere. */
static uint8_t back_to_the_map(void) {
    uint8_t told = T_LOST;
    if (battle_result != RESULT_LOST) {
        world_show();
        return 1;
    }
    if (heal_map == MAP_CENTER) told = T_LOST_CENTER;
    text_show(told);
    party_heal();
    story_enter_map(heal_map, heal_x, heal_y, DIR_DOWN);
    return 0;
}

/* A wild monster comes out of the grass. */
void story_encounter(void) {
    battle_wild(encounter_table);
    if (battle_result == RESULT_CAUGHT) {
        if (!event_is_set(EV_FIRST_CATCH)) {
            event_mark(EV_FIRST_CATCH);
            world_show();
            text_name_set((const uint8_t *)species_name(enemy.species));
            text_show(T_CAUGHT_END);
            return;
        }
    }
    back_to_the_map();
}

/* 1 = won. */
static uint8_t fight(uint8_t trainer) {
    battle_trainer(trainer);
    if (battle_result == RESULT_WON) party_heal();
    return back_to_the_map();
}

void story_stepped(void) {
    if (!event_is_set(EV_OUT_OF_BED)) story_mark(EV_OUT_OF_BED);
}

static void take_starter(uint8_t which) {
    uint8_t species = which + 1;
    uint8_t answer;
    if (event_is_set(EV_GOT_STARTER)) {
        text_show(T_NOTHING);
        return;
    }
    text_name_set((const uint8_t *)species_name(species));
    answer = text_ask(T_BALL_LEAF + which);
    if (!answer) return;
    if (which != wish) {
        text_show(T_BALL_PROMISED);
        return;
    }
    monster_make(party, species, 6);
    moves_shuffle(party);
    party_count = 1;
    story_mark(EV_GOT_STARTER);
    text_show(T_BALL_GOT);
}

static void script_mom(void) {
    if (!event_is_set(EV_TALKED_MOM)) {
        text_show(T_MOM);
        bag[BAG_POTION] = 2;
        story_mark(EV_TALKED_MOM);
        return;
    }
    if (party_count) {
        party_heal();
        text_show(T_MOM_HEAL);
        return;
    }
    text_show(T_MOM_LATER);
}

static void script_prof(void) {
    if (!event_is_set(EV_GOT_STARTER)) {
        prof_asks();
        return;
    }
    if (!event_is_set(EV_RIVAL_BEATEN)) {
        text_show(T_PROF_AFTER);
        return;
    }
    if (bag[BAG_BALL] == 0) {
        bag[BAG_BALL] = GIFT_BALLS;
        text_show(T_PROF_BALLS);
        world_refresh();
        return;
    }
    text_show(T_PROF_LATER);
}

static void script_rival_in_lab(void) {
    if (!event_is_set(EV_GOT_STARTER)) {
        text_show(T_RIVAL_LAB);
        return;
    }
    if (event_is_set(EV_RIVAL_BEATEN)) {
        text_show(T_RIVAL_DONE);
        return;
    }
    text_name_set((const uint8_t *)species_name(trainer_species(TRAINER_RIVAL)));
    text_show(T_RIVAL_CHALLENGE);
    if (!fight(TRAINER_RIVAL)) return;
    bag[BAG_BALL] = GIFT_BALLS;
    story_mark(EV_RIVAL_BEATEN);
    text_show(T_RIVAL_BEATEN);
    text_show(T_PROF_GIFT);
}

/* Whoever fights once: a challenge, the battle, a word after it. The texts follow each other: before, won, done. */
static void script_trainer(uint8_t trainer, uint8_t event, uint8_t first_text) {
    uint8_t after = first_text + 1;
    if (event_is_set(event)) {
        after = first_text + 2;
        text_show(after);
        return;
    }
    text_show(first_text);
    if (!fight(trainer)) return;
    story_mark(event);
    text_show(after);
}

/* Where one wakes up: below the person of this script. */
static void wake_below(uint8_t script) {
    uint8_t i;
    Person *person = people;
    for (i = 0; i < n_people; i++) {
        if (person->script == script) {
            heal_map = map;
            heal_x = person->x;
            heal_y = person->y + 1;
        }
        person++;
    }
}

static void script_nurse(void) {
    uint8_t answer = text_ask(T_NURSE);
    if (!answer) {
        text_show(T_NURSE_NO);
        return;
    }
    party_heal();
    wake_below(T_NURSE);
    story_mark(EV_HEALED);
    text_show(T_NURSE_HEALED);
}

static void script_guide(void) {
    uint8_t answer;
    if (event_is_set(EV_BADGE)) {
        text_show(T_GUIDE_DONE);
        return;
    }
    if (!event_is_set(EV_LEADER_BEATEN)) {
        text_show(T_GUIDE);
        return;
    }
    answer = text_ask(T_GUIDE_BADGE);
    if (!answer) return;
    badges = badges | 1;
    story_mark(EV_BADGE);
    text_show(T_BADGE_GOT);
    ending_screen();
    world_show();
}

static void script_sign_fork(void) {
    const char *word = "LEFT\0    ";
    if (event_is_set(EV_FORK_RIGHT)) word = "RIGHT\0   ";
    text_name_set((const uint8_t *)word);
    text_show(T_SIGN_FORK);
    story_mark(EV_SIGN_READ);
}

/* Would someone on watch start this script by themselves? */
uint8_t script_waits(uint8_t script) {
    uint8_t over = 1;
    if (script == T_TRAINER_ROUTE) over = event_is_set(EV_TRAINER_BEATEN);
    if (script == T_TRAINER_GYM) over = event_is_set(EV_GYM_TRAINER_BEATEN);
    return over == 0;
}

static void script_clock(void) {
    if (event_is_set(EV_CLOCK_SET)) {
        text_show(T_CLOCK_ALREADY);
        return;
    }
    text_show(T_CLOCK);
    if (!clock_screen()) return;
    story_mark(EV_CLOCK_SET);
    text_show(T_CLOCK_DONE);
}

void script_run(uint8_t script) {
    switch (script) {
    case 0:
        break;
    case T_CLOCK:
        script_clock();
        break;
    case T_MOM:
        script_mom();
        break;
    case T_RIVAL:
        if (event_is_set(EV_MET_RIVAL)) {
            text_show(T_RIVAL_AGAIN);
        } else {
            text_show(T_RIVAL);
            story_mark(EV_MET_RIVAL);
        }
        break;
    case T_BALL_LEAF:
        take_starter(0);
        break;
    case T_BALL_EMBER:
        take_starter(1);
        break;
    case T_BALL_WAVE:
        take_starter(2);
        break;
    case T_PROF:
        script_prof();
        break;
    case T_RIVAL_LAB:
        script_rival_in_lab();
        break;
    case T_NURSE:
        script_nurse();
        break;
    case T_TRAINER_ROUTE:
        script_trainer(TRAINER_ROUTE, EV_TRAINER_BEATEN, T_TRAINER_ROUTE);
        break;
    case T_TRAINER_GYM:
        script_trainer(TRAINER_GYM, EV_GYM_TRAINER_BEATEN, T_TRAINER_GYM);
        break;
    case T_LEADER:
        script_trainer(TRAINER_LEADER, EV_LEADER_BEATEN, T_LEADER);
        break;
    case T_GUIDE:
        script_guide();
        break;
    case T_SIGN_FORK:
        script_sign_fork();
        break;
    default:
        text_show(script);
        break;
    }
}
