"""The site: Sphinx reads the Markdown pages, and the reference, which is written here from the code. `make docs` builds it."""

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))

import make_reference  # noqa: E402  # beside this file

make_reference.write()
PLACES = make_reference.card_places()

project = "Weighbridge"
copyright = "The Weighbridge authors"
release = version = installed_version("weighbridge")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build"]
highlight_language = "text"
default_role = "code"  # single backticks in docstrings are code
nitpicky = True

# No page of another project is asked for, so that the site is built without a network: in signatures, names of other libraries, type variables and
# the numbers of bounds stay text. A name of ours that is written out in full and is not there is a warning, and so an error.
nitpick_ignore_regex = [
    (r"py:.*", r"(annotated_types|click|collections|np|numpy|nn|pathlib|pluggy|torch)\..*"),
    (
        r"py:class",
        r"Array|ArrayLike|NDArray|Path|Reporter|FreshAdam|Tensor|Optimizer|AdamW|PreTrained(Model|TokenizerBase|TokenizerFast)|harness\.training\.seeding\.M|harness\.training\.supervised\.R_co|contextlib\.AbstractContextManager|plugins\.tasks\.semi_supervised\.steps\.M|(dict|tuple)\[str",
    ),
    (r"py:class", r"Activation|Augmentation|Schedule|OptimizerFactory"),  # names for a few literals, which autodoc does not document
    (r"py:class", r"Ge|Gt|Le|Lt|MinLen|[\d.e-]+"),
    (r"py:mod", r"harness\.cli\..*"),
]

suppress_warnings = ["ref.python"]  # short names in signatures may be those of two modules: both training loops have a Batch

myst_enable_extensions = ["deflist", "fieldlist"]
myst_heading_anchors = 4

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_class_signature = "mixed"
python_use_unqualified_type_names = True
toc_object_entries = False  # each name has a heading already
python_maximum_signature_line_length = 100

html_theme = "furo"
html_title = "Weighbridge"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False


def mend(_app: object, name: str, content: list[str]) -> None:
    """Make the links of a hand-written page that lead out of ``docs/`` plain paths: those files are part of the repository, not of the site."""
    page = DOCS / f"{name}.md"
    if page.is_file() and not name.startswith("reference/"):
        content[0] = make_reference.mend_links(content[0], page, page, PLACES)


def setup(app) -> None:
    """Join :func:`mend`."""
    app.connect("source-read", mend)
