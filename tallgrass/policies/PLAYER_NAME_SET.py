"""Type one letter, whichever the cursor is on, and confirm with END."""

COLUMNS = 7  # A..Z, DEL, END on four rows
DEL, END = 26, 27


def run(state):
    menu = state["game"]["menu"]
    if menu is None or menu["name"] != "name_grid":
        return "a"
    if state["player"]["name"]:
        return move_cursor(state, END, COLUMNS)
    return "a" if menu["cursor"] < DEL else "up"
