/* Frames, buttons, random numbers, copies. One operation per statement: see "coding rule" in tallgrass/README.md. */
#include "system.h"
#include "ids.h"

uint8_t keys;
uint8_t idle_limit;
static uint8_t pressed;
static uint8_t held_for;

void copy_run(void);
void copy_run_video(void);

/* Frames after which a held direction counts as pressed again. Longer than the 12 frames that the
   environment holds a button, so that one press is one tile or one cursor position. */
#define REPEAT_AFTER 20
#define REPEAT_FROM 12

static void read_keys(void) {
    uint8_t pad;
    uint8_t buttons;
    uint8_t now;
    uint8_t fresh;
    P1 = 0x20;
    pad = P1;
    pad = P1;
    P1 = 0x10;
    buttons = P1;
    buttons = P1;
    buttons = P1;
    buttons = P1;
    P1 = 0x30;
    pad = pad & 0x0F;
    pad = pad ^ 0x0F;
    buttons = buttons & 0x0F;
    buttons = buttons ^ 0x0F;
    now = buttons;
    now = now << 4;
    now = now | pad;
    fresh = keys;
    fresh = fresh ^ 0xFF;
    fresh = fresh & now;
    pressed = fresh;
    if (now == keys) {
        if (held_for < REPEAT_AFTER) held_for++;
    } else {
        held_for = 0;
    }
    keys = now;
}

/* "X ABC" generator: three bytes of state and a counter, so four bytes in all. */
uint8_t random_byte(void) {
    uint8_t a = rng[0];
    uint8_t b = rng[1];
    uint8_t c = rng[2];
    uint8_t x = rng[3];
    uint8_t half;
    x++;
    a = a ^ c;
    a = a ^ x;
    b = b + a;
    half = b >> 1;
    c = c + half;
    c = c ^ a;
    rng[0] = a;
    rng[1] = b;
    rng[2] = c;
    rng[3] = x;
    return c;
}

uint8_t random_below(uint8_t bound) {
    uint16_t wide = random_byte();
    uint16_t factor = bound;
    uint16_t product = wide * factor;
    product = product >> 8;
    return (uint8_t)product;
}

void wait_frame(void) {
    frame_passed = 0;
    do {
        halt_cpu();
    } while (!frame_passed);
    read_keys();
    random_byte();
}

/* Rest until a button is pressed (or a direction is held on). The only place where busy is 0. */
uint8_t wait_input(void) {
    uint8_t waited = 0;
    uint8_t found = 0;
    busy = 0;
    for (;;) {
        wait_frame();
        found = pressed;
        if (found) break;
        if (held_for >= REPEAT_AFTER) {
            found = keys & KEY_PAD;
            if (found) {
                held_for = REPEAT_FROM;
                break;
            }
        }
        if (idle_limit) {
            waited++;
            if (waited >= idle_limit) break;
        }
    }
    busy = 1;
    return found;
}

/* No frames pass while the display is off, so waiting for one then would be for ever. */
void lcd_off(void) {
    uint8_t on = LCDC & 0x80;
    if (on) wait_frame();
    LCDC = LCDC_OFF;
}

void lcd_on(void) {
    SCX = scroll_x;
    SCY = scroll_y;
    WY = window_y;
    LCDC = LCDC_ON;
}

void copy_from(uint8_t bank, const uint8_t *source, uint8_t *target, uint16_t length) {
    copy_bank = bank;
    copy_source = (uint16_t)source;
    copy_target = (uint16_t)target;
    copy_length = length;
    copy_run();
}

void copy_to_video(uint8_t bank, const uint8_t *source, uint8_t *target, uint16_t length) {
    copy_bank = bank;
    copy_source = (uint16_t)source;
    copy_target = (uint16_t)target;
    copy_length = length;
    copy_run_video();
}

/* An entry of a table of offsets that lies in another bank. */
uint16_t offset_from(uint8_t bank, const uint16_t *table, uint8_t index) {
    uint16_t entry;
    const uint16_t *place = table + index;
    copy_from(bank, (const uint8_t *)place, (uint8_t *)&entry, 2);
    return entry;
}

void video_put(uint8_t *target, uint8_t tile) {
    while (STAT & 2) {
    }
    *target = tile;
}

void hide_sprites(void) {
    uint8_t i;
    for (i = 0; i < 160; i++) oam[i] = 0;
}

void system_init(void) {
    IF_REG = 0;
    IE_REG = 1;
    __asm__("ei");
    lcd_off();
    BGP = 0xE4;
    OBP0 = SPRITE_PALETTE;
    OBP1 = SPRITE_PALETTE;
    WX = 7;
    window_y = 144;
}
