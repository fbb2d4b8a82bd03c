"""Policy files of strangers, run in worker processes that have locked themselves down."""
