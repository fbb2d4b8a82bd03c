/* The cartridge-RAM image, read once at power-on; tallgrass/README.md says what lies where in it. Without a valid image all
   is as in the ROM. One operation per statement (tallgrass/README.md). */
#include "image.h"
#include "ids.h"
#include "system.h"

#define IMAGE ((const uint8_t *)0xA000)
#define IMAGE_ADDRESS 0xA000
#define IMAGE_SIZE 0x2000
#define MAP_BANK_ADDRESS 0x4000

#define AT_LENGTH 0x08
#define AT_CHECKSUM 0x0A
#define AT_BODY 0x0C
#define AT_FLAGS 0x0C
#define AT_LIGHT 0x0D /* the background's palette, 0 for the usual one */
#define AT_WORLD 0x10
#define AT_START 0x14
#define AT_HEAL 0x16
#define AT_SHIFTS 0x1C
#define AT_ENCOUNTERS 0x20
#define AT_MAPS 0x40
#define AT_STAGE 0x60
#define STAGE_LENGTH 208
#define HEAD_LENGTH 5 /* C100..C104 are the game's own */
#define RNG_PLACE 0x20
#define RNG_LENGTH 4
#define OWN_PLACE 0x34 /* compass, image flags, world: the game's own as well */
#define OWN_LENGTH 12

uint8_t start_x;
uint8_t start_y;
void sum_run(void);

static const uint8_t image_magic[8] = {'T', 'G', 'W', 'O', 'R', 'L', 'D', '1'};

static uint16_t word_at(uint8_t place) {
    const uint8_t *source = IMAGE + place;
    uint16_t high = source[1];
    uint16_t low = source[0];
    high = high << 8;
    return high | low;
}

static uint8_t image_is_valid(void) {
    uint8_t i;
    uint16_t length;
    uint16_t wanted;
    for (i = 0; i < 8; i++) {
        if (IMAGE[i] != image_magic[i]) return 0;
    }
    length = word_at(AT_LENGTH);
    if (length < AT_STAGE) return 0;
    if (length > IMAGE_SIZE) return 0;
    wanted = word_at(AT_CHECKSUM);
    copy_source = IMAGE_ADDRESS + AT_BODY;
    copy_length = length - AT_BODY;
    sum_run();
    return copy_target == wanted;
}

void image_read(void) {
    uint8_t *world = (uint8_t *)&world_number;
    uint8_t i;
    uint8_t flags;
    uint8_t light;
    image_flags = 0;
    start_x = START_X;
    start_y = START_Y;
    heal_map = HEAL_MAP;
    heal_x = HEAL_X;
    heal_y = HEAL_Y;
    if (!image_is_valid()) return;
    flags = IMAGE[AT_FLAGS];
    image_flags = flags;
    for (i = 0; i < 4; i++) world[i] = IMAGE[AT_WORLD + i];
    light = IMAGE[AT_LIGHT];
    if (light) BGP = light;
    flags = flags & IMAGE_MAPS;
    if (!flags) return;
    start_x = IMAGE[AT_START];
    start_y = IMAGE[AT_START + 1];
    heal_map = IMAGE[AT_HEAL];
    heal_x = IMAGE[AT_HEAL + 1];
    heal_y = IMAGE[AT_HEAL + 2];
}

/* Take over the story's state from the image. */
void image_stage(void) {
    const uint8_t *source = IMAGE + AT_STAGE;
    uint8_t *target = magic;
    uint8_t i;
    for (i = HEAD_LENGTH; i < STAGE_LENGTH; i++) {
        uint8_t from_rng = i - RNG_PLACE;
        uint8_t from_own = i - OWN_PLACE;
        if (from_rng >= RNG_LENGTH) {
            if (from_own >= OWN_LENGTH) target[i] = source[i];
        }
    }
}

/* Where a map lies: in the image, or in the ROM's bank for maps. */
const uint8_t *map_source(uint8_t id) {
    uint8_t entry = id << 1;
    uint8_t flags = image_flags & IMAGE_MAPS;
    uint16_t place;
    if (flags) {
        entry = entry + AT_MAPS;
        place = word_at(entry);
        if (place) return IMAGE + place;
        entry = id << 1;
    }
    place = offset_from(BANK_MAPS, map_offset, id);
    place = place + MAP_BANK_ADDRESS;
    return (const uint8_t *)place;
}

const uint8_t *encounter_source(uint8_t table) {
    uint8_t place = table << 4;
    uint8_t flags = image_flags & IMAGE_MAPS;
    if (flags) {
        place = place + AT_ENCOUNTERS;
        return IMAGE + place;
    }
    return encounter_tables + place;
}

/* Types between the player's and the trainer's (see data/monsters.toml); trainers count from 1. */
uint8_t trainer_shift(uint8_t trainer) {
    uint8_t index = trainer - 1;
    uint8_t flags = image_flags & IMAGE_MAPS;
    uint16_t place = index;
    if (flags) {
        index = index + AT_SHIFTS;
        return IMAGE[index];
    }
    place = place << 3;
    return trainer_data[place];
}
