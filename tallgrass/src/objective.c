/* What the player is to do next, and in which direction that lies. One operation per statement (tallgrass/README.md). */
#include "objective.h"
#include "events.h"
#include "ids.h"
#include "image.h"
#include "wram.h"

#define NOWHERE 0xFF
#define FAR 0xFF

static uint8_t target_x;
static uint8_t target_y;
static uint8_t target_distance; /* FAR: no target found so far */

static uint8_t distance(uint8_t a, uint8_t b) {
    if (a > b) return a - b;
    return b - a;
}

/* Keep the nearest of the places offered. */
static void target_offer(uint8_t x, uint8_t y) {
    uint8_t across = distance(x, player_x);
    uint8_t along = distance(y, player_y);
    across = across + along;
    if (across >= target_distance) return;
    target_distance = across;
    target_x = x;
    target_y = y;
}

/* The fork's open gate becomes the target, if the way to a target beyond it leads through. */
static void target_fork(void) {
    uint8_t i;
    uint8_t event = EV_FORK_LEFT;
    Gate *gate = gates;
    if (event_is_set(EV_FORK_RIGHT)) event = EV_FORK_RIGHT;
    for (i = 0; i < n_gates; i++) {
        if (gate->event == event) {
            if (player_y > gate->y) {
                if (target_y < gate->y) {
                    target_distance = FAR;
                    target_offer(gate->x, gate->y);
                    return;
                }
            }
        }
        gate++;
    }
}

static uint8_t south_of_the_fork(void) {
    uint8_t i;
    Gate *gate = gates;
    if (map != MAP_ROUTE_2) return 0;
    for (i = 0; i < n_gates; i++) {
        if (gate->event == EV_FORK_LEFT) return player_y > gate->y;
        gate++;
    }
    return 0;
}

static void target_find(void) {
    uint8_t place = objective << 1;
    uint8_t goal = objective_target[place];
    uint8_t script;
    uint8_t i;
    uint16_t row;
    Person *person = people;
    Sign *sign = signs;
    Warp *warp = warps;
    target_distance = FAR;
    if (goal == NOWHERE) return;
    if (goal == map) {
        place++;
        script = objective_target[place];
        if (script == 0) {
            target_offer(mark_x, mark_y);
            return;
        }
        for (i = 0; i < n_people; i++) {
            if (person->script == script) {
                if (person->visible) target_offer(person->x, person->y);
            }
            person++;
        }
        for (i = 0; i < n_signs; i++) {
            if (sign->script == script) target_offer(sign->x, sign->y);
            sign++;
        }
    } else {
        row = map;
        row = row * MAP_COUNT;
        row = row + goal;
        goal = first_step[row];
        for (i = 0; i < n_warps; i++) {
            if (warp->dest_map == goal) target_offer(warp->x, warp->y);
            warp++;
        }
    }
    if (target_distance == FAR) return;
    if (map != MAP_ROUTE_2) return;
    place = image_flags & IMAGE_HIDE;
    if (place) {
        if (!event_is_set(EV_TRAINER_BEATEN)) return;
    }
    target_fork();
}

void compass_update(void) {
    compass = COMPASS_NONE;
    if (mode != MODE_OVERWORLD) return;
    target_find();
    if (target_distance == FAR) return;
    if (target_x == player_x) {
        if (target_y < player_y) compass = 1;
        if (target_y > player_y) compass = 5;
    } else if (target_x > player_x) {
        compass = 3;
        if (target_y < player_y) compass = 2;
        if (target_y > player_y) compass = 4;
    } else {
        compass = 7;
        if (target_y < player_y) compass = 8;
        if (target_y > player_y) compass = 6;
    }
}

static uint8_t objective_of_act_two(void) {
    if (!event_is_set(EV_SECOND_TOWN)) return OBJ_GO_TOWN_2;
    if (!event_is_set(EV_HEALED)) return OBJ_HEAL;
    if (!event_is_set(EV_ROUTE_2)) return OBJ_GO_ROUTE_2;
    if (!event_is_set(EV_TRAINER_BEATEN)) {
        uint8_t hide = image_flags & IMAGE_HIDE;
        if (hide) {
            if (!event_is_set(EV_SIGN_READ)) {
                if (south_of_the_fork()) return OBJ_READ_SIGN;
            }
        }
        return OBJ_BEAT_TRAINER;
    }
    if (!event_is_set(EV_GYM_ENTERED)) return OBJ_GO_GYM;
    if (!event_is_set(EV_GYM_TRAINER_BEATEN)) return OBJ_BEAT_GYM_TRAINER;
    if (!event_is_set(EV_LEADER_BEATEN)) return OBJ_BEAT_LEADER;
    if (!event_is_set(EV_BADGE)) return OBJ_GET_BADGE;
    return OBJ_ALL_DONE;
}

static uint8_t objective_now(void) {
    uint8_t hide = image_flags & IMAGE_HIDE;
    if (mode == MODE_TITLE) return OBJ_PRESS_START;
    if (mode == MODE_NAME) return OBJ_ENTER_NAME;
    if (mode == MODE_INTRO) return OBJ_READ_ON;
    if (event_is_set(EV_FIRST_CATCH)) return objective_of_act_two();
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
        if (hide) return OBJ_TAKE_ASKED;
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
    if (bag[BAG_BALL] == 0) return OBJ_GET_BALLS;
    return OBJ_CATCH_ONE;
}

void objective_update(void) {
    objective = objective_now();
}
