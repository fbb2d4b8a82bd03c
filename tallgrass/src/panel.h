/* The window layer at the bottom of the screen: the strip that says what to do, and the box that opens below it. */
#ifndef PANEL_H
#define PANEL_H
#include <stdint.h>

void strip_update(void);
void panel_open(uint8_t rows);
void panel_close(void);
void panel_put(uint8_t column, uint8_t row, uint8_t tile);
void panel_print(uint8_t column, uint8_t row, const char *string);
void panel_number(uint8_t column, uint8_t row, uint8_t value);
#endif
