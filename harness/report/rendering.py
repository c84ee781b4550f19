"""From templates to a page, and the hash in a page of what it was drawn from."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from harness.records import digest
from harness.report.styles import VARIABLES
from harness.text import printable

__all__ = ["Drawing", "code_hash", "drawing", "file_hash", "inputs_of", "render"]

TEMPLATES = Path(__file__).parent / "templates"


class Drawing(NamedTuple):
    """A figure with what stands under it."""

    svg: Any  # Any: markupsafe is imported with jinja2, when a page is drawn
    caption: str


def drawing(svg: str, caption: str) -> Drawing:
    """Return an SVG of our own with its caption; it is not escaped."""
    from markupsafe import Markup

    return Drawing(Markup(svg), caption)


def render(template: str, **values: Any) -> str:  # Any: whatever the template shows
    """Fill a template with values, all of which are escaped, with its own script and the style of all pages."""
    import jinja2
    from markupsafe import Markup

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        finalize=_clean,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"paint": _paint, "breakable": _breakable}
    script = (TEMPLATES / template).with_suffix(".js").read_text(encoding="utf-8")
    values |= {
        "css": Markup((TEMPLATES / "page.css").read_text(encoding="utf-8")),
        "script": Markup(script),
        "script_hash": b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    }

    return environment.get_template(template).render(values)


def _clean(value: Any) -> Any:  # Any: whatever the template shows
    """Leave control characters out of text that is about to be escaped."""
    return printable(value) if type(value) is str else value


def _paint(colour: str) -> str:
    """Return a colour of the figures as the page's own."""
    return VARIABLES[colour]


def _breakable(label: str) -> Any:  # Any: markupsafe's string
    """Let a label be broken after its underscores."""
    from markupsafe import Markup, escape

    return Markup("_<wbr>").join(escape(part) for part in printable(label).split("_"))


@cache
def code_hash() -> str:
    """Hash the code and the templates that draw pages."""
    here = Path(__file__).parent
    drawn_by = (
        "page.py",
        "curves.py",
        "heat_maps.py",
        "trials.py",
        "index.py",
        "rendering.py",
        "plots.py",
        "styles.py",
        "figures.py",
        "claims.py",
    )
    files = [*(here / name for name in drawn_by), *sorted(TEMPLATES.iterdir())]

    return digest([file_hash(path) for path in files if path.is_file()])


def file_hash(path: Path) -> str:
    """Hash a file; empty where there is none."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def inputs_of(path: Path) -> str:
    """Return what a page that was written before was drawn from; empty if it does not say."""
    try:
        with path.open(encoding="utf-8") as file:
            found = re.search(r'<meta name="weighbridge-inputs" content="([0-9a-f]{64})">', file.read(2000))
    except (OSError, UnicodeDecodeError):
        return ""

    return "" if found is None else found[1]
