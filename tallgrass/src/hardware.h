/* Game Boy registers that the game uses. */
#ifndef HARDWARE_H
#define HARDWARE_H
#include <stdint.h>

#define REG(address) (*(volatile uint8_t *)(address))
#define P1 REG(0xFF00)
#define IF_REG REG(0xFF0F)
#define LCDC REG(0xFF40)
#define STAT REG(0xFF41)
#define SCY REG(0xFF42)
#define SCX REG(0xFF43)
#define LY REG(0xFF44)
#define BGP REG(0xFF47)
#define OBP0 REG(0xFF48)
#define OBP1 REG(0xFF49)
#define WY REG(0xFF4A)
#define WX REG(0xFF4B)
#define IE_REG REG(0xFFFF)

/* Picture on, window from 9C00 on, tiles from 8800 (signed), 8x16 sprites. */
#define LCDC_ON 0xE7
#define LCDC_OFF 0x67

#define SPRITE_TILES ((uint8_t *)0x8000)
#define UI_TILES ((uint8_t *)0x8800)   /* background tiles 80..FF */
#define MAP_TILES ((uint8_t *)0x9000)  /* background tiles 00..7F */
#define COMPASS_TILES ((uint8_t *)0x97C0) /* background tiles 7C..7F */
#define BG_MAP ((uint8_t *)0x9800)
#define WINDOW_MAP ((uint8_t *)0x9C00)

#define KEY_RIGHT 0x01
#define KEY_LEFT 0x02
#define KEY_UP 0x04
#define KEY_DOWN 0x08
#define KEY_A 0x10
#define KEY_B 0x20
#define KEY_SELECT 0x40
#define KEY_START 0x80
#define KEY_PAD 0x0F
#endif
