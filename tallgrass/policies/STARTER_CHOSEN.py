"""Take the monster that the strip asks for: three balls lie on the table, and only one of them is ours."""

BALLS = {"TAKE_LEAF": ((6, 3), "SPROUTLE"), "TAKE_EMBER": ((7, 3), "CINDKIT"), "TAKE_WAVE": ((8, 3), "PUDDLEP")}


def run(state):
    game = state["game"]
    ball, monster = BALLS.get(game["objective"], (None, None))
    if game["menu"] is not None and game["menu"]["name"] == "yes_no":
        return answer(state, monster is not None and monster in (game["dialog_text"] or ""))
    if action := close_what_is_open(state):
        return action
    if ball is None or state["map"]["location"] != "LAB":
        return go_to_map(state, "LAB")
    return face_and_press(state, *ball)
