/* Frames, buttons, random numbers, copies: what everything else stands on. */
#ifndef SYSTEM_H
#define SYSTEM_H
#include <stdint.h>
#include "hardware.h"
#include "wram.h"

#define BANK_ART 2
#define BANK_PICS 3
#define BANK_MAPS 4
#define BANK_TEXT 5

void halt_cpu(void);
void system_init(void);
void wait_frame(void);
uint8_t wait_input(void);
uint8_t random_byte(void);
uint8_t random_below(uint8_t bound);
void lcd_off(void);
void lcd_on(void);
void copy_from(uint8_t bank, const uint8_t *source, uint8_t *target, uint16_t length);
void copy_to_video(uint8_t bank, const uint8_t *source, uint8_t *target, uint16_t length);
void video_put(uint8_t *target, uint8_t tile);
void hide_sprites(void);
uint16_t offset_from(uint8_t bank, const uint16_t *table, uint8_t index);

extern uint8_t keys;       /* buttons down now */
extern uint8_t idle_limit; /* wait_input gives up after that many frames without a button (0 = never) */
#endif
