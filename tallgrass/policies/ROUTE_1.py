"""Take the road north out of the town."""


def run(state):
    return close_what_is_open(state) or go_to_map(state, "ROUTE_1")
