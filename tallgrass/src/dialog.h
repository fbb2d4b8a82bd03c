/* What is said: texts of the story, page by page, and lines composed on the spot. */
#ifndef DIALOG_H
#define DIALOG_H
#include <stdint.h>

#define TEXT_COMPOSED 0xFF /* text_id of texts that the program composes */

void text_show(uint8_t id);
void text_first_page(uint8_t id);
void text_draw(uint8_t row);
void text_name_set(const uint8_t *name);
void compose_start(void);
void compose_line(void);
void compose(const char *string);
void compose_number(uint8_t value);
void compose_show(void);
extern char text_name[9]; /* what placeholder 2 in a text stands for */
#endif
