/* The picture of a battle: both monsters, their names, levels and bars. */
#ifndef BATTLE_VIEW_H
#define BATTLE_VIEW_H

void battle_view_open(void);
void mine_draw(void);
void mine_erase(void);
void enemy_erase(void);
void mine_level_draw(void);
void status_draw(void);
#endif
