"""Take the road through the grass to the second town; wild monsters are run from."""


def run(state):
    return close_what_is_open(state) or go_to_map(state, "TOWN_2")
