"""Go to the nurse at her counter, and say YES."""


def run(state):
    menu = state["game"]["menu"]
    if menu is not None and menu["name"] == "yes_no" and state["map"]["location"] == "CENTER":
        return answer(state, True)
    return close_what_is_open(state) or talk_to(state, "T_NURSE", "CENTER")
