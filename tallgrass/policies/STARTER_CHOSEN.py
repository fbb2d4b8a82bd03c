"""Take the monster that the strip asks for, or that the professor has asked for: of three balls only one is ours."""

MONSTERS = {"LEAF": "SPROUTLE", "EMBER": "CINDKIT", "WAVE": "PUDDLEP"}


def run(state):
    game = state["game"]
    wish = game["objective"].removeprefix("TAKE_")
    if wish == "ASKED":
        wish = game["wish"]
    if game["menu"] is not None and game["menu"]["name"] == "yes_no":
        return answer(state, wish in MONSTERS and MONSTERS[wish] in (game["dialog_text"] or ""))
    if action := close_what_is_open(state):
        return action
    if wish not in MONSTERS:
        return go_to_map(state, "LAB")
    return talk_to(state, f"T_BALL_{wish}", "LAB")
