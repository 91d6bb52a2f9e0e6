"""The table of `docs/serving.md` is what the rows of `benchmarks/serving.py` say."""

from benchmarks.rows import RESULTS, read
from benchmarks.serving_table import ALIKE, PAGE, latest, measured, page


def row(clients: int, **more: str) -> dict[str, str]:
    ratios = {f"ratio {name}": "2.345" for name in ("requests/s", "first token", "token")}
    running = {"dense running": "2", "pruned running": "5"}
    given = {name: "1" for name in ALIKE}
    return {**given, **ratios, **running, "device": "a CPU", "clients": str(clients), **more}


def test_the_last_row_of_each_number_of_clients_counts() -> None:
    rows = [row(4, layers="9"), row(8), row(4), row(8, **{"pruned running": "7"}), row(16)]
    found = latest(rows)
    assert [one["clients"] for one in found] == ["4", "8", "16"]
    assert found[1]["pruned running"] == "7"
    lines = measured(rows).splitlines()
    assert lines[-2] == "| 8 | 2 | 7 | 2.35x | 2.35x | 2.35x |"


def test_the_page_is_that_of_the_rows() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert page(text, read(RESULTS / "serving_cpu.csv")) == text
