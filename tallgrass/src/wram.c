/* The one definition of the variables that wram.h lays out. */
#define WRAM
#include "wram.h"
