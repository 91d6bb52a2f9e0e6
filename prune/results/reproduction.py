"""The exhibits of a reproduction: its figures and tables as data, with what each differs in."""

from dataclasses import dataclass

PAGE = "index.html"


@dataclass(frozen=True)
class Exhibit:
    """One figure or table of Map the Flow (arXiv 2510.13251), measured on another model or data.

    Attributes:
        name: of its files.
        title: with the number that it has in the paper.
        says: what is shown.
        differs: from the paper's protocol, a sentence each.
        figures: names of the figures, each a .png and an .svg.
        columns, rows: the table that the page shows, if there is one.
        tables: names of its .csv and .json files.
    """

    name: str
    title: str
    says: str
    differs: tuple[str, ...]
    figures: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    tables: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reproduction:
    """All exhibits, and what they are of.

    Attributes:
        about: lines on model, data, samples and settings.
        samples: how many there are.
        failed: the reason by id for each sample that could not be used.
        command: that made them.
    """

    title: str
    about: tuple[str, ...]
    exhibits: tuple[Exhibit, ...]
    samples: int
    failed: dict[str, str]
    command: str = ""
