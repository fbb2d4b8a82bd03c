"""Take the badge from the guide at the gym's entrance, and say YES."""


def run(state):
    menu = state["game"]["menu"]
    if menu is not None and menu["name"] == "yes_no" and state["map"]["location"] == "GYM":
        return answer(state, True)
    return close_what_is_open(state) or talk_to(state, "T_GUIDE", "GYM")
