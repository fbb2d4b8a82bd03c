#!/bin/sh
# Build tallgrass.gb from art/, maps/, data/ and src/ with SDCC 4.2.0 (Debian: apt-get install sdcc).
# Usage: [BUILD=FOLDER] build_rom.sh [OUTPUT]   (default: tallgrass.gb beside src/; FOLDER is emptied first)
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
out=${1:-$here/tallgrass.gb}
build=${BUILD:-$here/build}
python=${PYTHON:-python3}

# The bytes of the ROM depend on the compiler: another version may give another ROM, or a faulty one.
command -v sdcc >/dev/null || { echo "build_rom.sh: sdcc is not installed (Debian: apt-get install --no-install-recommends sdcc)" >&2; exit 1; }
rm -rf "$build"
mkdir -p "$build/gen"
"$python" "$here/tools/build_assets.py" --out "$build/gen"

compile() {  # compile SOURCE BANK: BANK 1 is the program's own, always mapped
    source=$1
    bank=$2
    object=$build/$(basename "$source" .c).rel
    segments=""
    [ "$bank" = 1 ] || segments="--codeseg CODE_$bank --constseg CODE_$bank"
    # "info 218: z80instructionSize() failed to parse" is harmless noise of this SDCC.
    # shellcheck disable=SC2086
    sdcc -msm83 --std-c11 --no-std-crt0 --opt-code-speed --max-allocs-per-node 300 -I "$here/src" -I "$build/gen" $segments -c "$source" -o "$object" \
        2>"$object.messages" || { cat "$object.messages" >&2; exit 1; }
    grep -v 'info 218' "$object.messages" >&2 || [ $? = 1 ]
}

sdasgb -plosgff -o "$build/crt0.rel" "$here/src/crt0.s"
# Two compilers side by side: every other file is this one's.
lane() {
    skip=$1
    for source in "$here"/src/*.c; do
        [ "$skip" = 1 ] || compile "$source" 1
        skip=$((1 - skip))
    done
}
lane 1 &
other=$!
lane 0
for entry in data:1 art:2 pics:3 maps:4 text:5; do
    compile "$build/gen/${entry%:*}.c" "${entry#*:}"
done
wait "$other"
objects="$build/crt0.rel"
for source in "$here"/src/*.c data art pics maps text; do
    objects="$objects $build/$(basename "$source" .c).rel"
done

# SDCC 4.2.0 miscompiles some 16-bit constants as "scf; push af" (see tallgrass/README.md, coding rule).
"$python" "$here/tools/check_rom.py" --assembly "$build"

# shellcheck disable=SC2086
sdcc -msm83 --no-std-crt0 --code-loc 0x0200 --data-loc 0xC800 -Wl-m -Wl-j \
    -Wl-b_CODE_2=0x24000 -Wl-b_CODE_3=0x34000 -Wl-b_CODE_4=0x44000 -Wl-b_CODE_5=0x54000 \
    -o "$build/tallgrass.ihx" $objects
# 128 KiB, MBC5 with RAM and battery, 8 KiB of RAM, no logo in the header.
makebin -Z -yN -yn "TALLGRASS" -yt 0x1B -yo 8 -ya 1 -yS "$build/tallgrass.ihx" "$build/tallgrass.gb"
"$python" "$here/tools/check_rom.py" "$build"
mv "$build/tallgrass.gb" "$out"
