"""Text of suites and plugins in reports: nothing of it is read as Markdown, HTML, LaTeX, a formula or a command."""

from __future__ import annotations

import csv
import re

import pytest

from harness.report.files import code
from harness.report.files import escape as to_markdown
from harness.report.latex import escape as to_latex

pytestmark = pytest.mark.xdist_group("injection")  # they read reports of one run

SUITE = """
task: toy
budget: {steps: 3}
seeds: 2
summary: |-
  - item \\input{passwd}
datasets:
  - numbers: {}
    label: "=HYPERLINK(\\"http://x\\")"
methods:
  - constant: {value: 0.1}
    label: "α → β₁, <img src=x onerror=alert(1)>"
  - constant: {value: 0.2}
    label: "+cmd|' /C calc'!A0"
  - constant: {value: 0.3}
    label: "-0.5"
  - constant: {value: 0.4}
    label: "@SUM(1)"
  - constant: {value: 0.5}
    label: "-x 漢"
"""


@pytest.fixture(scope="module")
def reports(bench_in, toy, tmp_path_factory):
    """The reports of a suite whose names are hostile, by format."""
    bench = bench_in(tmp_path_factory.mktemp("hostile"))
    suite = bench.suite(SUITE)
    bench("run", suite, "--plugin", toy, "--executor", "inline")

    return lambda form: bench("leaderboard", suite, "--plugin", toy, "--format", form).stdout


def test_no_cell_of_the_csv_is_a_formula_and_numbers_stay_numbers(reports):
    rows = list(csv.DictReader(reports("csv").splitlines()))

    assert {row["method"] for row in rows} == {"α → β₁, <img src=x onerror=alert(1)>", "'+cmd|' /C calc'!A0", "-0.5", "'@SUM(1)", "'-x 漢"}
    assert {row["dataset"] for row in rows} == {'\'=HYPERLINK("http://x")'}
    differences = [row["difference"] for row in rows if row["difference"].startswith("-")]
    assert differences
    assert all(float(value) < 0 for value in differences)


def test_markdown_holds_no_html_and_no_list(reports):
    text = reports("markdown")

    assert "<img" not in text
    assert "\\- item \\\\input{passwd}" in text


def test_latex_has_greek_and_arrows_for_pdflatex_and_says_what_it_lacks(reports):
    lines = reports("latex").splitlines()

    assert lines[1] == "% pdflatex lacks 漢: take xelatex or lualatex, with a font that has it"
    table = "\n".join(lines[2:])
    assert r"$\alpha$ $\rightarrow$ $\beta$$_{1}$, \textless{}img src=x" in table
    assert r"\textbackslash{}input\{passwd\}" in table
    assert table.replace("漢", "").isascii()


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("λ=0.5 ≤ Ω", r"$\lambda$=0.5 $\leq$ $\Omega$"),
        ("ΑΒ ο ς ϕ φ", r"AB o $\varsigma$ $\phi$ $\varphi$"),
        ("θ̂ x̄", r"$\hat{\theta}$ {\={x}}"),
        ("x² ⁻³ ₁₂ ½", r"x$^{2}$ $^{-}$$^{3}$ $_{1}$$_{2}$ 1/2"),
        ("naïve Łódź façade", r"na{\DOTS{\i}}ve \L{}{\'{o}}d{\'{z}} fa{\c{c}}ade".replace("DOTS", '"')),
        ("⇒ ↔ ∈ ∞ ≠ × ± − –", r"$\Rightarrow$ $\leftrightarrow$ $\in$ $\infty$ $\neq$ $\times$ $\pm$ $-$ --"),
        ("a\u200db\u00ad µ", r"ab $\mu$"),
        ("{x}_$%&#~^\\", r"\{x\}\_\$\%\&\#\textasciitilde{}\textasciicircum{}\textbackslash{}"),
        ("a\nb\x1b[31mc\x00", "a bc\ufffd"),
        ('"q" [x]', r"\symbol{34}q\symbol{34} {[}x{]}"),
    ],
)
def test_latex_spells_what_pdflatex_has(text, spelled):
    assert to_latex(text) == spelled


def test_every_spelling_of_mathematics_is_a_command_of_latex_in_its_own_dollars():
    from harness.report.latex import _MATHS, _TEXT

    for sign in [*_MATHS, *_TEXT, *"é ñ ü ő č ş ẍ ⁰₉ªº¼ﬃ"]:
        spelled = to_latex(sign)
        assert spelled.isascii(), sign
        assert not re.search(r"\$[^$]*\$[^$]*\$", spelled) or spelled.count("$") % 2 == 0


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("- item", r"\- item"),
        ("+ item", r"\+ item"),
        ("  1. item", r"  1\. item"),
        ("2) item", r"2\) item"),
        ("---", r"\---"),
        ("===", r"\==="),
        ("-0.5", "-0.5"),
        ("1.5", "1.5"),
        ("q=0.5", "q=0.5"),
        ("> quote", "&gt; quote"),
        ("~~gone~~ $x$", r"\~\~gone\~\~ \$x\$"),
        ("[a](javascript:b)", r"\[a\](javascript:b)"),
        ("<b>&lt;", "&lt;b&gt;&amp;lt;"),
        ("a\n# b", r"a \# b"),
        ("a\x1b]0;t\x07b\x9b", "ab\ufffd"),
    ],
)
def test_markdown_is_text(text, escaped):
    assert to_markdown(text) == escaped


@pytest.mark.parametrize(
    ("text", "span"),
    [("bench run", "`bench run`"), ("a `b` c", "``a `b` c``"), ("`x``", "``` `x`` ```"), ("a\nb\x1b[1m", "`a b`")],
)
def test_a_span_of_code_ends_where_it_should(text, span):
    assert code(text) == span
