/* Screens of their own: title, name entry, introduction, the clock, the end. */
#ifndef SCREENS_H
#define SCREENS_H
#include <stdint.h>

void title_screen(void);
void name_screen(void);
void intro_screen(void);
uint8_t clock_screen(void);
void ending_screen(void);
#endif
