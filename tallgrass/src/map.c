/* The map one is on: its tiles, gates and warps. One operation per statement (tallgrass/README.md).

   The background map is a ring of 16x16 metatiles; the one at map (x, y) is drawn at (x % 16, y % 16), so a step only
   has to draw the row or column that comes into sight. The player stands at screen pixel (64, 64). */
#include "map.h"
#include "events.h"
#include "ids.h"
#include "image.h"
#include "system.h"

#define MAP_HEADER 12

static const uint8_t *blob; /* the map as it is stored */

const int8_t direction_x[4] = {0, 0, -1, 1};
const int8_t direction_y[4] = {1, -1, 0, 0};

uint8_t metatile_at(uint8_t x, uint8_t y) {
    uint16_t place;
    uint16_t column = x;
    uint16_t width = map_w;
    if (x >= map_w) return map_border;
    if (y >= map_h) return map_border;
    place = y;
    place = place * width;
    place = place + column;
    return layout[place];
}

static void metatile_draw(uint8_t x, uint8_t y) {
    uint8_t id = metatile_at(x, y);
    uint16_t entry = id;
    uint16_t place;
    uint16_t column;
    const uint8_t *tiles;
    uint8_t *target;
    uint8_t ring = y & 15;
    entry = entry << 2;
    tiles = metatiles + entry;
    place = ring;
    place = place << 6;
    ring = x & 15;
    column = ring;
    column = column << 1;
    place = place + column;
    target = BG_MAP + place;
    video_put(target, tiles[0]);
    target++;
    video_put(target, tiles[1]);
    target += 31;
    video_put(target, tiles[2]);
    target++;
    video_put(target, tiles[3]);
}

void map_row_draw(uint8_t y) {
    uint8_t x = player_x - 5;
    uint8_t i;
    for (i = 0; i < 12; i++) {
        metatile_draw(x, y);
        x++;
    }
}

void map_column_draw(uint8_t x) {
    uint8_t y = player_y - 5;
    uint8_t i;
    for (i = 0; i < 11; i++) {
        metatile_draw(x, y);
        y++;
    }
}

void gates_apply(uint8_t draw) {
    uint8_t i;
    Gate *gate = gates;
    for (i = 0; i < n_gates; i++) {
        uint16_t place = gate->y;
        uint16_t width = map_w;
        uint16_t column = gate->x;
        uint8_t wanted = gate->closed;
        const uint8_t *source;
        place = place * width;
        place = place + column;
        if (event_is_set(gate->event)) {
            source = blob + MAP_HEADER;
            source = source + place;
            copy_from(BANK_MAPS, source, buffer, 1);
            wanted = buffer[0];
        }
        if (layout[place] != wanted) {
            layout[place] = wanted;
            if (draw) metatile_draw(gate->x, gate->y);
        }
        gate++;
    }
}

void map_load(uint8_t id) {
    uint16_t place;
    uint16_t size;
    uint16_t height;
    uint8_t i;
    const uint8_t *source;
    Person *person;
    map = id;
    blob = map_source(id);
    source = blob;
    copy_from(BANK_MAPS, source, &map_w, MAP_HEADER);
    source += MAP_HEADER;
    size = map_w;
    height = map_h;
    size = size * height;
    copy_from(BANK_MAPS, source, layout, size);
    source += size;
    size = n_warps;
    size = size * 6;
    copy_from(BANK_MAPS, source, (uint8_t *)warps, size);
    source += size;
    size = n_people;
    size = size << 3;
    copy_from(BANK_MAPS, source, buffer, size);
    source += size;
    person = people;
    place = 0;
    for (i = 0; i < n_people; i++) {
        const uint8_t *entry = buffer + place;
        person->x = entry[0];
        person->y = entry[1];
        person->sprite = entry[2];
        person->facing = entry[3];
        person->movement = entry[4];
        person->range = entry[5];
        person->script = entry[6];
        person->flag = entry[7];
        person->home_x = person->x;
        person->home_y = person->y;
        person++;
        place += 8;
    }
    size = n_signs;
    size = size * 3;
    copy_from(BANK_MAPS, source, (uint8_t *)signs, size);
    source += size;
    size = n_gates;
    size = size << 2;
    copy_from(BANK_MAPS, source, (uint8_t *)gates, size);
    gates_apply(0);
}

uint8_t warp_at(uint8_t x, uint8_t y) {
    uint8_t i;
    Warp *warp = warps;
    for (i = 0; i < n_warps; i++) {
        if (warp->x == x) {
            if (warp->y == y) return i;
        }
        warp++;
    }
    return NO_WARP;
}

static void scroll_to_player(void) {
    uint8_t pixels = player_x << 4;
    pixels = pixels - 64;
    scroll_x = pixels;
    pixels = player_y << 4;
    pixels = pixels - 64;
    scroll_y = pixels;
}

/* Draw the whole picture; the LCD is off while this runs. */
void map_draw(void) {
    uint8_t y = player_y - 5;
    uint8_t i;
    if (map_tileset) {
        copy_from(BANK_ART, indoor_tiles, MAP_TILES, INDOOR_TILES_LEN);
        copy_from(BANK_ART, indoor_meta, metatiles, 512);
    } else {
        copy_from(BANK_ART, outdoor_tiles, MAP_TILES, OUTDOOR_TILES_LEN);
        copy_from(BANK_ART, outdoor_meta, metatiles, 512);
    }
    for (i = 0; i < 11; i++) {
        map_row_draw(y);
        y++;
    }
    scroll_to_player();
}
