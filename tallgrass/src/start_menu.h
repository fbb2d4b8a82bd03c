/* The START menu on the map: monsters, bag. */
#ifndef START_MENU_H
#define START_MENU_H

void start_menu(void);
#endif
