"""The table at a run's end."""

from common.results import print_results


def test_networks_without_a_record_are_not_in_the_table(capsys):
    record = {"step": 7, "val_loss": 0.5, "val_accuracy": 0.75}
    print_results({"best": (None, "models/best.pth"), "final": (record, "models/final.pth")})
    said = capsys.readouterr().out
    assert "final" in said and "0.5000" in said and "models/final.pth" in said and "best" not in said
