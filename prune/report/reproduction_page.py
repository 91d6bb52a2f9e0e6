"""`index.html` of a reproduction: its figures and tables, each with what it differs in."""

import base64
from pathlib import Path

from prune.io.files import write_atomically
from prune.report.environment import ENVIRONMENT
from prune.results.reproduction import PAGE, Reproduction


def write_reproduction_page(folder: Path, found: Reproduction) -> Path:
    """Write the page into the folder that holds the exhibits' files, and return its path.

    Its figures are the PNG files; text from data sets is escaped.
    """

    def picture(name: str) -> str:
        data = (folder / f"{name}.png").read_bytes()
        return "data:image/png;base64," + base64.b64encode(data).decode()

    template = ENVIRONMENT.get_template("reproduction.html.j2")
    path = folder / PAGE
    write_atomically(path, template.render(r=found, picture=picture))
    return path
