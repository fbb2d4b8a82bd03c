/* What the player does in a turn of a battle. One operation per statement (tallgrass/README.md). */
#include "battle_menu.h"
#include "dialog.h"
#include "menu.h"
#include "monsters.h"
#include "panel.h"
#include "system.h"

uint8_t chosen_slot;

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
    uint8_t picked;
    uint8_t any = 0;
    for (i = 0; i < 4; i++) {
        if (mine->moves[i]) {
            if (mine->pp[i]) any = 1;
        }
    }
    if (!any) {
        chosen_slot = SLOT_NONE;
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
                panel_number(column, row, mine->pp[i]);
            }
        }
        cursor = 0;
        picked = grid_choose(MENU_MOVES, 2, 4, battle_column, battle_row, panel_put);
        cursor = 0;
        if (picked == MENU_BACK) return 0;
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

uint8_t choose_action(void) {
    uint8_t picked;
    for (;;) {
        picked = choose_command();
        if (picked == 0) {
            if (choose_move()) return DO_MOVE;
        } else if (picked == 1) {
            picked = bag_choose(MENU_BATTLE_BAG);
            if (picked == BAG_POTION) {
                if (can_drink()) return DO_POTION;
            } else if (picked == BAG_BALL) {
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
