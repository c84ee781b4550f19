"""The leaderboard as a LaTeX table, with the figures of the other reports."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from harness.report import figures
from harness.text import printable

if TYPE_CHECKING:
    from harness.leaderboard import Cell, Leaderboard, MetricInfo

__all__ = ["escape", "to_latex"]


def to_latex(board: Leaderboard, command: str, metric: str | None = None) -> str:
    """
    Return the overview of one metric as a table of the package ``booktabs``.

    Args:
        board: What to write.
        command: What produced the leaderboard, for the reader of the source.
        metric: Name; the main one by default.
    """
    shown = next(item for item in board.metrics if metric in (None, item.name))
    headers = ["method", *(column.label for column in board.columns), "wins/ties/losses", "mean rank", "cost", "ok"]
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape(board.summary)} {escape(figures.legend(board, shown))}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(headers) - 1)}}}",
        r"\toprule",
        _row([escape(header) for header in headers]),
        r"\midrule",
    ]
    decimals = figures.decimals_of(board, shown)
    for row in figures.by_rank(board, shown):
        cells = [_cell(board.cell(column.label, row.label, shown.name), shown, decimals.get(column.label)) for column in board.columns]
        label = escape(row.label) + (r"\textsuperscript{\dag}" if row.privileges else "")
        tail = [figures.spell_score(figures.score(board, shown, row.label)), figures.rank(row.mean_ranks[shown.name])]
        tail += [figures.ratio(row.cost_ratio), figures.coverage(row.ok, row.total)]
        lines.append(_row([label, *cells, *map(escape, tail)]))
    lines += [r"\bottomrule", r"\end{tabular}"]
    notes = (figures.verdict(board, shown), figures.privileges(board), figures.untested(board, shown), figures.unranked(board, shown))
    lines += [rf"\par\smallskip {escape(note)}" for note in notes if note]
    table = "\n".join([*lines, r"\end{table}"]) + "\n"
    strange = "".join(dict.fromkeys(sign for sign in table if not sign.isascii()))
    comments = [" ".join(printable(command).split())]
    comments += [f"pdflatex lacks {strange}: take xelatex or lualatex, with a font that has it"] if strange else []

    return "".join(f"% {comment}\n" for comment in comments) + table


def _row(texts: list[str]) -> str:
    return " & ".join(texts) + r" \\"


def _cell(cell: Cell, metric: MetricInfo, decimals: int | None) -> str:
    mean = escape(figures.mean(cell, metric.unit, decimals))
    change = escape(figures.difference(cell, metric.unit, decimals))

    return (rf"\textbf{{{mean}}}" if cell.best else mean) + (f" ({change})" if change else "")


_TEXT = {
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\symbol{34}",  # \textquotedbl is not in LaTeX's default encoding, and babel gives the sign itself other meanings
    "`": r"\symbol{96}",
    "[": "{[}",  # after \\ a bracket would be an argument
    "]": "{]}",
    "*": r"\textasteriskcentered{}",
    "⁄": "/",
    "–": "--",
    "—": "---",
    "‘": "{`}",
    "’": "{'}",
    "“": "{``}",
    "”": "{''}",
    "…": r"\ldots{}",
    "†": r"\dag{}",
    "‡": r"\ddag{}",
    "§": r"\S{}",
    "¶": r"\P{}",
    "©": r"\copyright{}",
    "£": r"\pounds{}",
    "•": r"\textbullet{}",
    "¡": r"\textexclamdown{}",
    "¿": r"\textquestiondown{}",
    "ß": r"\ss{}",
    **{letter: f"\\{name}{{}}" for letter, name in zip("æÆœŒøØłŁıȷ", ("ae", "AE", "oe", "OE", "o", "O", "l", "L", "i", "j"), strict=True)},
    "\N{NO-BREAK SPACE}": "~",
    "\N{NARROW NO-BREAK SPACE}": r"\,",
    "\N{THIN SPACE}": r"\,",
    **dict(zip("ΑΒΕΖΗΙΚΜΝΟΡΤΧο", "ABEZHIKMNOPTXo", strict=True)),  # TeX knows these Greek letters by their Latin shapes
    "\n": " ",
    "\t": " ",
}


def _pairs(text: str) -> dict[str, str]:
    words = text.split()

    return dict(zip(words[::2], words[1::2], strict=True))


# Letters and signs of mathematics that LaTeX has without a package.
_MATHS = _pairs(
    """
    α alpha  β beta  γ gamma  δ delta  ε varepsilon  ζ zeta  η eta  θ theta  ι iota  κ kappa  λ lambda  μ mu  ν nu  ξ xi  π pi  ρ rho  ς varsigma  σ sigma
    τ tau  υ upsilon  φ varphi  χ chi  ψ psi  ω omega  Γ Gamma  Δ Delta  Θ Theta  Λ Lambda  Ξ Xi  Π Pi  Σ Sigma  Υ Upsilon  Φ Phi  Ψ Psi  Ω Omega  ϵ
    epsilon  ϑ vartheta  ϕ phi  ϱ varrho  ϖ varpi
    ← leftarrow  → rightarrow  ↑ uparrow  ↓ downarrow  ↔ leftrightarrow  ⇐ Leftarrow  ⇒ Rightarrow  ⇑ Uparrow  ⇓ Downarrow  ⇔ Leftrightarrow  ↦ mapsto  ↗
    nearrow  ↘ searrow  ↙ swarrow  ↖ nwarrow  ⟵ longleftarrow  ⟶ longrightarrow  ⟷ longleftrightarrow  ⟸ Longleftarrow  ⟹ Longrightarrow  ⟺
    Longleftrightarrow
    ± pm  ∓ mp  × times  ÷ div  ⋅ cdot  · cdot  ∘ circ  ∗ ast  ⊕ oplus  ⊖ ominus  ⊗ otimes  ⊙ odot  ≤ leq  ≥ geq  ≠ neq  ≈ approx  ≡ equiv  ≃ simeq  ≅
    cong  ∼ sim  ∝ propto  ≪ ll  ≫ gg  ∞ infty  ∈ in  ∉ notin  ∋ ni  ⊂ subset  ⊆ subseteq  ⊃ supset  ⊇ supseteq  ∪ cup  ∩ cap  ∅ emptyset  ∀ forall  ∃
    exists  ¬ neg  ∧ wedge  ∨ vee  ∂ partial  ∇ nabla  ∑ sum  ∏ prod  ∫ int  √ surd  ⊥ perp  ⊤ top  ∥ parallel  ∣ mid  ⟨ langle  ⟩ rangle  ‖ Vert  ℓ ell
    ℏ hbar  ′ prime  ℜ Re  ℑ Im  ⊢ vdash
    """
)
_PLAIN_MATHS = {"−": "$-$", "°": r"$^{\circ}$"}
# Accents as text has them, and as mathematics has them where it does.
_ACCENTS = {
    "\u0300": ("`", "grave"),
    "\u0301": ("'", "acute"),
    "\u0302": ("^", "hat"),
    "\u0303": ("~", "tilde"),
    "\u0304": ("=", "bar"),
    "\u0306": ("u", "breve"),
    "\u0307": (".", "dot"),
    "\u0308": ('"', "ddot"),
    "\u030a": ("r", "mathring"),
    "\u030b": ("H", ""),
    "\u030c": ("v", "check"),
    "\u0323": ("d", ""),
    "\u0327": ("c", ""),
    "\u0331": ("b", ""),
}
_GRAPHEME = re.compile("(?s).[\u0300-\u036f]*")


def escape(text: str) -> str:
    """
    Keep text from being read as LaTeX, and spell in it what pdflatex has: accents, Greek letters, arrows, signs, figures that are raised or lowered.

    Other letters stay: xelatex or lualatex has them, with a font that does (:func:`to_latex` says so).
    """
    return "".join(map(_spelled, _GRAPHEME.findall(unicodedata.normalize("NFC", printable(text)))))


def _spelled(grapheme: str) -> str:
    """Spell one letter with its accents."""
    if grapheme in _TEXT:
        return _TEXT[grapheme]
    if grapheme.isascii():
        return grapheme
    if grapheme in _MATHS:
        return f"$\\{_MATHS[grapheme]}$"
    if grapheme in _PLAIN_MATHS:
        return _PLAIN_MATHS[grapheme]
    if unicodedata.category(grapheme[0]) == "Cf":  # joiners, soft hyphens: nothing that is printed
        return ""
    letter, *accents = list(unicodedata.normalize("NFD", grapheme))
    if len(accents) == 1 and accents[0] in _ACCENTS:
        of_text, of_maths = _ACCENTS[accents[0]]
        if letter.isascii() and letter.isalpha():
            dotless = "\\" if letter in "ij" and accents[0] < "\u0323" else ""  # an accent above takes the place of the dot
            return f"{{\\{of_text}{{{dotless}{letter}}}}}"
        if letter in _MATHS and of_maths:
            return f"$\\{of_maths}{{\\{_MATHS[letter]}}}$"
    kind, _, codes = unicodedata.decomposition(grapheme).partition(" ") if len(grapheme) == 1 else ("", "", "")
    parts = escape("".join(chr(int(code, 16)) for code in codes.split())) if kind.startswith("<") else ""
    if not parts or not parts.isascii():
        return grapheme

    return f"${'^' if kind == '<super>' else '_'}{{{parts.strip('$')}}}$" if kind in ("<super>", "<sub>") else parts
