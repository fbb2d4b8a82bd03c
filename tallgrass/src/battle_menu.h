/* What the player does in a turn of a battle. */
#ifndef BATTLE_MENU_H
#define BATTLE_MENU_H
#include <stdint.h>

#define DO_MOVE 0
#define DO_CATCH 1
#define DO_RUN 2
#define DO_POTION 3
#define SLOT_NONE 4 /* no move has PP left */

uint8_t choose_action(void);
extern uint8_t chosen_slot; /* of DO_MOVE */
#endif
