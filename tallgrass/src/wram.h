/* Fixed addresses of the game's state; tallgrass/README.md documents them and a test holds the two together. */
#ifndef WRAM_H
#define WRAM_H
#include <stdint.h>

typedef struct {
    uint8_t species;  /* 1-based, 0 = nobody */
    uint8_t level;
    uint8_t hp;
    uint8_t max_hp;
    uint8_t attack;
    uint8_t defense;
    uint8_t speed;
    uint8_t status;
    uint16_t xp;
    uint8_t moves[4]; /* 1-based, 0 = none */
    uint8_t pp[4];
    uint8_t max_pp[4];
    uint8_t unused[2];
} Monster;

typedef struct {
    uint8_t x, y, dest_map, dest_x, dest_y, dest_facing;
} Warp;

typedef struct {
    uint8_t x, y, sprite, facing, movement, range, script, flag, home_x, home_y, visible, tile;
} Person;

typedef struct {
    uint8_t x, y, script;
} Sign;

typedef struct {
    uint8_t x, y, event, closed;
} Gate;

/* wram.c defines the variables, everybody else only names them. */
#ifndef WRAM
#define WRAM extern
#endif

/* Shared with crt0.s. */
WRAM uint8_t __at(0xC000) oam[160];
WRAM volatile uint8_t __at(0xC0A0) frame_passed;
WRAM uint8_t __at(0xC0A1) scroll_x;
WRAM uint8_t __at(0xC0A2) scroll_y;
WRAM uint8_t __at(0xC0A3) window_y;
WRAM uint16_t __at(0xC0A4) copy_source;
WRAM uint16_t __at(0xC0A6) copy_target;
WRAM uint16_t __at(0xC0A8) copy_length;
WRAM uint8_t __at(0xC0AA) copy_bank;

/* The documented block. */
WRAM uint8_t __at(0xC100) magic[2];
WRAM uint8_t __at(0xC102) layout_version;
WRAM uint8_t __at(0xC103) mode;
WRAM uint8_t __at(0xC104) busy;
WRAM uint8_t __at(0xC105) map;
WRAM uint8_t __at(0xC106) player_x;
WRAM uint8_t __at(0xC107) player_y;
WRAM uint8_t __at(0xC108) facing;
WRAM uint8_t __at(0xC109) text_open;
WRAM uint8_t __at(0xC10A) text_id;
WRAM uint8_t __at(0xC10B) text_page;
WRAM uint8_t __at(0xC10C) menu;
WRAM uint8_t __at(0xC10D) cursor;
WRAM uint8_t __at(0xC10E) menu_items;
WRAM uint8_t __at(0xC10F) menu_value;
WRAM uint8_t __at(0xC110) clock_target;
WRAM uint8_t __at(0xC111) wish;
WRAM uint16_t __at(0xC112) money;
WRAM uint8_t __at(0xC114) badges;
WRAM uint16_t __at(0xC115) steps;
WRAM uint8_t __at(0xC117) objective;
WRAM uint8_t __at(0xC118) events[8];
WRAM uint8_t __at(0xC120) rng[4];
WRAM char __at(0xC124) player_name[8];
WRAM uint8_t __at(0xC12C) bag[4];
WRAM uint8_t __at(0xC130) party_count;
WRAM uint8_t __at(0xC131) heal_map;
WRAM uint8_t __at(0xC132) heal_x;
WRAM uint8_t __at(0xC133) heal_y;
WRAM uint8_t __at(0xC134) compass;
WRAM uint8_t __at(0xC135) image_flags;
WRAM uint32_t __at(0xC136) world_number;
WRAM Monster __at(0xC140) party[6];
WRAM uint8_t __at(0xC1D0) battle_kind;
WRAM uint8_t __at(0xC1D1) battle_with;
WRAM uint8_t __at(0xC1D2) active;
WRAM uint8_t __at(0xC1D3) player_weakened;
WRAM uint8_t __at(0xC1D4) enemy_weakened;
WRAM uint8_t __at(0xC1D5) battle_result;
WRAM Monster __at(0xC1D8) enemy;
WRAM uint8_t __at(0xC200) map_w;
WRAM uint8_t __at(0xC201) map_h;
WRAM uint8_t __at(0xC202) map_tileset;
WRAM uint8_t __at(0xC203) map_border;
WRAM uint8_t __at(0xC204) encounter_rate;
WRAM uint8_t __at(0xC205) encounter_table;
WRAM uint8_t __at(0xC206) n_warps;
WRAM uint8_t __at(0xC207) n_people;
WRAM uint8_t __at(0xC208) n_signs;
WRAM uint8_t __at(0xC209) n_gates;
WRAM uint8_t __at(0xC20A) mark_x;
WRAM uint8_t __at(0xC20B) mark_y;
WRAM Warp __at(0xC210) warps[12];
WRAM Person __at(0xC260) people[10];
WRAM Sign __at(0xC2E0) signs[12];
WRAM Gate __at(0xC310) gates[8];
WRAM char __at(0xC330) text[40];
WRAM uint8_t __at(0xC400) layout[1024];

/* Not part of the documented block: buffers. */
WRAM uint8_t __at(0xD000) metatiles[512];
WRAM uint8_t __at(0xD200) buffer[768];

#define MODE_BOOT 0
#define MODE_TITLE 1
#define MODE_NAME 2
#define MODE_INTRO 3
#define MODE_OVERWORLD 4
#define MODE_BATTLE 5
#define MODE_ENDING 6

#define DIR_DOWN 0
#define DIR_UP 1
#define DIR_LEFT 2
#define DIR_RIGHT 3

#define MENU_NONE 0
#define MENU_NAME 1
#define MENU_CLOCK 2
#define MENU_YES_NO 3
#define MENU_START 4
#define MENU_PARTY 5
#define MENU_BAG 6
#define MENU_BATTLE 7
#define MENU_MOVES 8
#define MENU_BATTLE_BAG 9
#define MENU_TITLE 10

#define BAG_POTION 0
#define BAG_BALL 1

#define BATTLE_NONE 0
#define BATTLE_WILD 1
#define BATTLE_TRAINER 2

#define RESULT_NONE 0
#define RESULT_WON 1
#define RESULT_LOST 2
#define RESULT_FLED 3
#define RESULT_CAUGHT 4

#define MOVES_NOT 0
#define MOVES_WANDERS 1
#define MOVES_LOOKS 2
#define MOVES_SIGHT 3 /* stands and watches `range` tiles ahead */

#define COMPASS_NONE 0 /* then clockwise from north */

#define NOT_DRAWN 0xFF
#endif
