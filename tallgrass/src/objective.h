/* What the player is to do next, and in which direction that lies. */
#ifndef OBJECTIVE_H
#define OBJECTIVE_H
#include <stdint.h>

void objective_update(void);
void compass_update(void);
#endif
