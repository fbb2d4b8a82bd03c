/* Screens outside the map: title, name entry, introduction, the clock, the START menu. */
#ifndef SCREENS_H
#define SCREENS_H
#include <stdint.h>

void title_screen(void);
void name_screen(void);
void intro_screen(void);
void clock_screen(void);
void start_menu(void);
extern const char bag_items[];
#endif
