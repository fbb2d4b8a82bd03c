"""Walk to the clock, move its marker to the sun and say YES."""


def run(state):
    menu = state["game"]["menu"]
    if menu is not None and menu["name"] == "clock":
        if menu["value"] == state["game"]["clock_target"]:
            return "a"
        return "right" if menu["value"] < state["game"]["clock_target"] else "left"
    if menu is not None and menu["name"] == "yes_no" and state["map"]["location"] == "BEDROOM":
        return answer(state, menu["value"] == state["game"]["clock_target"])
    return close_what_is_open(state) or read_sign(state, "T_CLOCK", "BEDROOM")
