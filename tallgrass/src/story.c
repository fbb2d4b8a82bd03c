/* What happens when: events, objectives, people's scripts. */
#include "story.h"
#include "battle.h"
#include "ids.h"
#include "overworld.h"
#include "screens.h"
#include "system.h"
#include "ui.h"

#define GIFT_BALLS 5

void story_mark(uint8_t event) {
    event_mark(event);
    map_refresh();
}

static uint8_t objective_now(void) {
    if (mode == MODE_TITLE) return OBJ_PRESS_START;
    if (mode == MODE_NAME) return OBJ_ENTER_NAME;
    if (mode == MODE_INTRO) return OBJ_READ_ON;
    if (!event_is_set(EV_OUT_OF_BED)) return OBJ_GET_UP;
    if (!event_is_set(EV_CLOCK_SET)) return OBJ_SET_CLOCK;
    if (!event_is_set(EV_TALKED_MOM)) {
        if (map == MAP_BEDROOM) return OBJ_GO_DOWN;
        return OBJ_TALK_MOM;
    }
    if (!event_is_set(EV_LEFT_HOUSE)) {
        if (map == MAP_BEDROOM) return OBJ_GO_DOWN;
        return OBJ_GO_OUT;
    }
    if (!event_is_set(EV_MET_RIVAL)) {
        if (map == MAP_RIVAL_2F) return OBJ_TALK_RIVAL;
        if (map == MAP_RIVAL_1F) return OBJ_GO_UPSTAIRS;
        return OBJ_VISIT_RIVAL;
    }
    if (!event_is_set(EV_EXIT_RIVAL_HOUSE)) return OBJ_LEAVE_RIVAL;
    if (!event_is_set(EV_GOT_STARTER)) {
        if (map != MAP_LAB) return OBJ_GO_LAB;
        if (wish == 0) return OBJ_TAKE_LEAF;
        if (wish == 1) return OBJ_TAKE_EMBER;
        return OBJ_TAKE_WAVE;
    }
    if (!event_is_set(EV_RIVAL_BEATEN)) {
        if (map != MAP_LAB) return OBJ_GO_LAB;
        return OBJ_BATTLE_RIVAL;
    }
    if (!event_is_set(EV_EXIT_LAB)) return OBJ_LEAVE_LAB;
    if (!event_is_set(EV_ROUTE_1)) return OBJ_GO_NORTH;
    if (!event_is_set(EV_FIRST_CATCH)) {
        if (bag[BAG_BALL] == 0) return OBJ_GET_BALLS;
        return OBJ_CATCH_ONE;
    }
    return OBJ_ALL_DONE;
}

void story_objective(void) {
    objective = objective_now();
}

/* The player has come to another map (nothing is drawn yet). */
void story_entered_map(void) {
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
    default:
        break;
    }
}

void story_stepped(void) {
    if (!event_is_set(EV_OUT_OF_BED)) story_mark(EV_OUT_OF_BED);
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

/* Index of the first monster that can fight, 0xFF if there is none. */
uint8_t party_alive(void) {
    uint8_t i;
    Monster *monster = party;
    for (i = 0; i < party_count; i++) {
        if (monster->hp) return i;
        monster++;
    }
    return 0xFF;
}

/* {mon} in the next text stands for this species. */
void text_name_species(uint8_t species) {
    uint16_t place = species - 1;
    uint8_t i;
    const uint8_t *source;
    place = place * 9;
    source = species_names + place;
    for (i = 0; i < 9; i++) text_name[i] = source[i];
}

static void take_starter(uint8_t which) {
    uint8_t species = which + 1;
    uint8_t answer;
    if (event_is_set(EV_GOT_STARTER)) {
        text_show(T_NOTHING);
        return;
    }
    text_name_species(species);
    answer = text_ask(T_BALL_LEAF + which);
    if (!answer) return;
    if (which != wish) {
        text_show(T_BALL_PROMISED);
        return;
    }
    monster_make(party, species, 6);
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
        text_show(T_PROF);
        return;
    }
    if (!event_is_set(EV_RIVAL_BEATEN)) {
        text_show(T_PROF_AFTER);
        return;
    }
    if (bag[BAG_BALL] == 0) {
        bag[BAG_BALL] = GIFT_BALLS;
        text_show(T_PROF_BALLS);
        map_refresh();
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
    text_name_species(rival_species());
    text_show(T_RIVAL_CHALLENGE);
    battle_rival();
    if (battle_result != RESULT_WON) return;
    bag[BAG_BALL] = GIFT_BALLS;
    party_heal();
    story_mark(EV_RIVAL_BEATEN);
    text_show(T_RIVAL_BEATEN);
    text_show(T_PROF_GIFT);
}

void script_run(uint8_t script) {
    switch (script) {
    case 0:
        break;
    case T_CLOCK:
        clock_screen();
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
    default:
        text_show(script);
        break;
    }
}
