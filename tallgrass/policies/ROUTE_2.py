"""Take the road north out of the second town."""


def run(state):
    return close_what_is_open(state) or go_to_map(state, "ROUTE_2")
