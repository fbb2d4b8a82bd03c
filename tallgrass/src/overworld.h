/* The player on the map: round and round. */
#ifndef OVERWORLD_H
#define OVERWORLD_H

void overworld_run(void);
#endif
