"""
What the pages show works as it is shown, and what can be looked up is complete.

The blocks of a page are worked through in their order, in a folder of their own, as its reader would:

- ``python`` or ``yaml`` whose first line is a comment with a file name is written to that file; a suite must be valid; other Python is executed.
- ``console``: each line that begins with ``$ `` is run by a shell, and the lines below it are what it prints. ``...`` stands for any text, alone in a line for
  any lines. Without lines below, anything may be printed.
- In the end each plugin that was written to a file passes ``bench plugin check``.
- ``bench run`` runs its trials without Ray, as it does whatever is short, but on the page on clusters.
- A comment above a block changes that: ``<!-- not run: why -->``, ``<!-- exit code 2 -->``, ``<!-- needs data: names -->`` (public data, from the
  cache or a registry), ``<!-- figures may differ a little -->`` (rows of a table that stand in the output before, times aside).
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import os
import re
import shlex
import subprocess
import sys
import tomllib
import venv
from dataclasses import dataclass, field
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from warm_bench import Warm, users_environment

import harness
import harness.hookspecs
from harness.cli.main import EXIT_CODES
from harness.data import cache_home

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if path.relative_to(DOCS).parts[0] not in ("reference", "_build"))

# What cannot be run here, by page and reason. A block that is not here is run.
NOT_RUN = {
    ("howto/cluster.md", "needs a cluster"),
    ("howto/gpu.md", "needs a GPU"),
    ("howto/lm_eval.md", "it is tested on its own, in tests/harness/test_lm_scores.py"),
    ("howto/tracker.md", "they serve until Ctrl-C"),
    ("trust.md", "times and commits are those of that day"),
    ("trust.md", "the bundle was forged for this page"),
    ("trust.md", "the records were altered for this page"),
    ("tutorials/first_leaderboard.md", "installing is tested on its own, in tests/test_installation.py"),
    ("tutorials/first_leaderboard.md", "it serves until Ctrl-C"),
}

TOLERANCE = 1.0  # points of accuracy: the least that a table of three seeds on another processor must be allowed


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, text, place, and the comments above it."""

    language: str
    text: str
    line: int
    markers: tuple[str, ...] = ()

    def marker(self, word: str) -> str | None:
        """Return what stands behind a word in the comments above, or ``None`` where it is not there."""
        return next((text.removeprefix(word).lstrip(": ") for text in self.markers if text.startswith(word)), None)

    @property
    def file(self) -> str | None:
        """The file that the block is to be written to."""
        found = re.match(r"# ([\w./-]+\.(?:py|yaml|toml))\n", self.text)

        return found[1] if found and self.language in ("python", "yaml", "toml") else None


def blocks_of(path: Path) -> list[Block]:
    """Return the fenced blocks of a page in their order."""
    text = path.read_text(encoding="utf-8")
    found = []
    for match in re.finditer(r"((?:^<!-- .*? -->\n)*)^```([^\n]*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        markers = tuple(re.findall(r"^<!-- (.*?) -->$", match[1], re.MULTILINE))
        found.append(Block(match[2].strip(), match[3], text[: match.start(2)].count("\n") + 1, markers))

    return found


def is_suite(block: Block) -> bool:
    """Return whether a block is a whole suite."""
    content = yaml.safe_load(block.text)

    return isinstance(content, dict) and {"task", "datasets", "methods"} <= set(content)


@dataclass
class Reader:
    """Somebody who does what a page says, in a folder of their own."""

    folder: Path
    python: str
    environment: dict[str, str]
    printed: str = ""
    plugins: list[str] = field(default_factory=list)

    def follow(self, block: Block) -> None:
        """Do what one block says."""
        if block.marker("not run") is not None:
            return
        if block.file is not None:
            path = self.folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, encoding="utf-8")
            if "@hookimpl" in block.text and block.file not in self.plugins and path.parent == self.folder:
                self.plugins.append(block.file)
        if block.language == "yaml" and is_suite(block):
            self.validate(block)
        elif block.language == "python" and block.file is None:
            self.run(f"{self.python} - <<'END_OF_BLOCK'\n{block.text}END_OF_BLOCK", block, 0)
        elif block.language == "console":
            for command, expected in commands_of(block.text):
                self.run(command, block, int(block.marker("exit code") or 0))
                assert re.fullmatch(pattern_of(expected), self.printed), f"line {block.line}: `{command}` printed\n{self.printed}"
        elif block.marker("figures may differ a little") is not None:
            for row in (line for line in block.text.splitlines() if "│" in line):
                assert any(is_like(row, line) for line in self.printed.splitlines()), (
                    f"line {block.line}: no row like {row!r} in\n{self.printed}"
                )

    def validate(self, block: Block) -> None:
        """Let ``bench plan`` read a suite."""
        path = self.folder / (block.file or f"suite_of_line_{block.line}.yaml")
        path.write_text(block.text, encoding="utf-8")
        options = " ".join(f"--plugin {name}" for name in self.plugins)
        self.run(f"bench plan {path} {options} --store none.db", block, 0)

    def borrow_artifacts(self) -> None:
        """Add what this machine has built before, as for the checks of bundled plugins: a base policy alone takes eight seconds."""
        own = Path(self.environment["BENCH_DATA_HOME"], "artifacts")
        own.mkdir(parents=True, exist_ok=True)
        for built in (cache_home() / "artifacts").glob("[!.]*"):
            if not (own / built.name).exists():
                (own / built.name).symlink_to(built)

    def run(self, command: str, block: Block, code: int) -> None:
        """Run a line in the folder where the last one ended."""
        place = self.folder.parent / "place"
        where = place.read_text().strip() if place.exists() else str(self.folder)
        done = subprocess.run(
            ["bash", "-c", f"{command}\ncode=$?; pwd > {place}; exit $code"],
            cwd=where,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=240,
        )
        self.printed = "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())
        assert done.returncode == code, f"line {block.line}: `{command}` ended with {done.returncode}\n{self.printed}"


def commands_of(text: str) -> list[tuple[str, str]]:
    """Split a console block into commands and what stands below each."""
    parts = re.split(r"^\$ (.*)\n", text, flags=re.MULTILINE)
    assert not parts[0].strip(), f"a console block begins with a command: {parts[0]!r}"

    return list(zip(parts[1::2], parts[2::2], strict=True))


def pattern_of(expected: str) -> str:
    """Return the regular expression of an expected output."""
    if not expected:
        return r"(?s:.*)"
    lines = []
    for line in expected.splitlines():
        lines.append(r"(?:.*\n)*?" if line.strip() == "..." else ".*".join(map(re.escape, line.rstrip().split("..."))) + r"\n")

    return "".join(lines)


def is_like(expected: str, line: str) -> bool:
    """Compare two rows of a table: the same words, figures that differ by no more than the tolerance, times left aside."""
    words, others = (re.findall(r"[^\s│*±]+", text) for text in (expected, line))
    if len(words) != len(others):
        return False
    for word, other in zip(words, others, strict=True):
        if word == other or (word.endswith("×") and other.endswith("×")):
            continue
        try:
            if abs(float(word) - float(other)) > TOLERANCE:
                return False
        except ValueError:
            return False

    return True


@pytest.fixture
def reader(tmp_path: Path, request: pytest.FixtureRequest, warm: Warm) -> Reader:
    """Give a folder, a path with ``bench`` and ``python`` on it, and, where a page installs something, an environment that may be changed."""
    page = request.node.callspec.params["page"]
    blocks = blocks_of(page)
    python = sys.executable
    tools = tmp_path / "bin"
    tools.mkdir()
    if any(block.marker("not run") is None and "$ pip install" in block.text for block in blocks):
        venv.create(tmp_path / "venv")
        python = str(tmp_path / "venv" / "bin" / "python")
        (packages,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
        # What the project's environment has is there too; what the page installs goes nowhere else.
        outer = [path for path in sys.path if path.endswith("site-packages")]
        (packages / "outer.pth").write_text("".join(f"import site; site.addsitedir({path!r})\n" for path in outer))
        script(tools / "pip", f'first=$1; shift; exec {python} -m pip -q "$first" --no-index --no-build-isolation "$@"')
        script(tools / "pytest", f'exec {python} -m pytest "$@"')
    on_ray = page.name == "cluster.md"
    local = "" if on_ray else '[ "$1" = run ] && set -- run --executor local "${@:2}"; '  # however few cores the machine has
    script(tools / "bench", f'{local}exec {f"{python} -m harness" if on_ray else shlex.join(warm.command())} "$@"')
    script(tools / "python", f'exec {python} "$@"')
    folder = tmp_path / "folder"
    folder.mkdir()
    kept = {name: value for name, value in users_environment().items() if not name.startswith("BENCH_")}
    active = {} if python == sys.executable else {"VIRTUAL_ENV": str(tmp_path / "venv")}
    home = os.environ.get("BENCH_DATA_HOME") if any(block.marker("needs data") is not None for block in blocks) else None
    variables = {
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "BENCH_DATA_HOME": home or str(tmp_path / "home"),
        "COLUMNS": "160",
        "PYTHONPATH": str(folder),
        "PYTHONDONTWRITEBYTECODE": "1",  # a file that a page changes within a second is read anew
    }

    return Reader(folder, python, kept | active | variables)


def script(path: Path, line: str) -> None:
    """Write an executable."""
    path.write_text(f"#!/usr/bin/env bash\n{line}\n")
    path.chmod(0o755)


def cases() -> list[object]:
    """Return the pages that have something to follow, those that take long or need data marked."""
    found = []
    for page in [*PAGES, ROOT / "README.md"]:
        blocks = [block for block in blocks_of(page) if block.marker("not run") is None]
        runs = [
            block
            for block in blocks
            if block.language == "console" or (block.language == "python" and (block.file is None or "@hookimpl" in block.text))
        ]
        data = any(block.marker("needs data") is not None for block in blocks)
        marks = [pytest.mark.slow] * bool(runs) + [pytest.mark.data] * data
        if runs or any(block.file or block.language == "yaml" for block in blocks):
            found.append(pytest.param(page, marks=marks, id=page.relative_to(ROOT).as_posix()))

    return found


@pytest.mark.timeout(900)  # a page is a whole session at a terminal; each of its commands has a limit of its own
@pytest.mark.parametrize("page", cases())
def test_a_page_works_as_it_is_written(page, reader):
    for block in blocks_of(page):
        reader.follow(block)
    if reader.plugins:  # at once: what each call starts imports the frameworks anew
        reader.borrow_artifacts()
        names = " ".join(Path(plugin).stem for plugin in reader.plugins)
        reader.run(f"bench plugin check {names} {' '.join(f'--plugin {plugin}' for plugin in reader.plugins)}", block, 0)


def test_what_is_not_run_says_why_and_is_known():
    found = {
        (page.relative_to(DOCS).as_posix(), reason)
        for page in PAGES
        for block in blocks_of(page)
        if (reason := block.marker("not run")) is not None
    }

    assert found == NOT_RUN


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(DOCS).as_posix())
def test_a_command_stands_in_a_block_that_is_run(page):
    known = ("", "console", "python", "text", "toml", "yaml")
    blocks = [block for block in blocks_of(page) if not block.language.startswith("{")]

    assert [block.line for block in blocks if block.language not in known] == []
    assert [
        block.line for block in blocks if block.language in ("", "text") and re.search(r"^(\$|bench|pip) ", block.text, re.MULTILINE)
    ] == []


# The reference


def load_script(name: str):
    """Import a script of the folder of the documentation."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)

    return module


@pytest.fixture(scope="module")
def reference():
    return load_script("make_reference")


@pytest.fixture(scope="module")
def pages(reference):
    return reference.pages()


def sources() -> list[Path]:
    """Return the files of the harness and of the bundled plugins."""
    return [path for folder in ("harness", "plugins") for path in (ROOT / folder).rglob("*.py")]


def test_every_hook_is_on_the_page_of_hooks_with_a_description(pages):
    hooks = [name for name in vars(harness.hookspecs) if name.startswith("bench_")]

    described = re.findall(r"^### `(\w+)`\n\n```python\n.*?\n```\n\n\w", pages["reference/hooks.md"], re.MULTILINE)

    assert sorted(described) == sorted(hooks)


def test_every_command_and_every_option_has_a_help_of_its_own(reference):
    lacking = [
        f"{' '.join(words)} {option.written if option else ''}"
        for words, command, options in reference.commands()
        for option, text in [(None, command.help), *((option, option.help) for option in options)]
        if not (text or "").strip()
    ]

    assert lacking == []


def test_every_command_is_on_the_page_of_commands(reference, pages):
    titles = re.findall(r"^##+ `(bench.*)`$", pages["reference/commands.md"], re.MULTILINE)

    assert titles == [" ".join(words) for words, _, _ in reference.commands()]


def test_every_key_of_a_suite_has_a_description_of_its_own(reference):
    lacking = [f"{heading}: {key}" for heading, rows in reference.suite_keys().items() for key, _, _, meaning in rows if not meaning]

    assert lacking == []


def test_every_environment_variable_that_the_code_reads_is_described(reference):
    read = {name for path in sources() for name in re.findall(r"\bBENCH_[A-Z_]+\b", path.read_text(encoding="utf-8"))}
    options = {name for path in sources() for name in re.findall(r'envvar="(\w+)"', path.read_text(encoding="utf-8"))}
    own = {name for name in reference.ENVIRONMENT if name.startswith("BENCH_")}

    assert own == read
    assert options <= set(reference.ENVIRONMENT)


def exit_codes_in(source: str) -> set[int]:
    """Return the whole numbers that the commands of a module return, ``sys.exit`` and ``os._exit`` are called with, and exceptions carry as ``exit_code``."""
    tree = ast.parse(source)
    values: list[ast.expr] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and any("command(" in ast.unparse(mark) for mark in node.decorator_list):
            values += [inner.value for inner in ast.walk(node) if isinstance(inner, ast.Return) and inner.value is not None]
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("sys.exit", "os._exit"):
            values += node.args
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "exit_code":
            values.append(node.value)
    branches = [branch for value in values for branch in ([value.body, value.orelse] if isinstance(value, ast.IfExp) else [value])]
    constants = {
        ast.unparse(node.targets[0]): node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and type(node.value.value) is int
    }
    literals = {branch.value for branch in branches if isinstance(branch, ast.Constant) and type(branch.value) is int}

    return literals | {constants[branch.id] for branch in branches if isinstance(branch, ast.Name) and branch.id in constants}


def test_the_exit_codes_that_the_code_uses_are_those_that_are_described():
    used = {code for path in sources() for code in exit_codes_in(path.read_text(encoding="utf-8"))}

    table = (ROOT / "docs/exit_codes.md").read_text(encoding="utf-8")
    assert used == set(EXIT_CODES)
    assert re.findall(r"^\| `(\d+)` \| (.*) \|$", table, re.MULTILINE) == [(str(code), text) for code, text in EXIT_CODES.items()]


def test_every_name_of_harness_has_an_entry_in_the_reference(pages):
    entries = re.findall(r"^\.\. (?:autoclass|py:data):: harness\.(\w+)$", pages["reference/python.md"], re.MULTILINE)

    assert sorted(entries) == sorted(harness.__all__)


@pytest.mark.parametrize("name", [name for name in harness.__all__ if inspect.isclass(getattr(harness, name))])
def test_a_class_of_harness_has_a_docstring_of_its_own(name):
    thing = getattr(harness, name)

    assert not (thing.__dict__.get("__doc__") or f"{name}(").startswith(f"{name}(")  # a dataclass writes its signature where there is none


def test_every_method_has_a_page_that_explains_each_parameter(reference, pages):
    registry = reference.bundled_registry()
    lacking = [
        f"{spec.name}.{item.name}"
        for spec in [*registry.methods, *registry.datasets, *registry.tasks]
        for item in reference.parameters(spec)
        if not item.meaning
    ]

    assert {reference.method_path(spec) for spec in registry.methods} <= set(pages)
    assert lacking == []


def test_every_conformance_check_says_why_and_how_to_mend(pages):
    checks = re.split(r"^### ", pages["reference/checks.md"], flags=re.MULTILINE)[1:]

    lacking = [check.partition("\n")[0] for check in checks if "\n- Why: " not in check or "\n- Mend: " not in check]

    assert len(checks) > 20
    assert lacking == []


def test_every_extra_is_in_the_table_beside_the_installation():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    page = (DOCS / "tutorials" / "first_leaderboard.md").read_text(encoding="utf-8")

    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == set(project["optional-dependencies"]) - {"docs", "test"}


def test_a_link_out_of_the_pages_becomes_the_path_of_a_file(reference):
    text = "See [the table](../results/x/leaderboard.md), [claims](claims.md#a), `[not](../a.md)` and [this](https://example.org/a.md)."

    mended = reference.mend_links(text, DOCS / "trust.md", DOCS / "howto" / "trust.md", {})

    assert mended == (
        "See the table (`results/x/leaderboard.md`), [claims](../claims.md#a), `[not](../a.md)` and [this](https://example.org/a.md)."
    )


def test_the_reference_is_not_committed():
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()

    assert {"docs/reference/", "docs/_build/"} <= set(ignored)


def test_what_the_code_imports_at_once_is_installed_with_the_packages_of_the_documentation():
    """The reference imports every entry: on a fresh clone, `make docs` has what the extra `docs` brings and no more."""
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    brought, waiting = set(), [*stated["dependencies"], *stated["optional-dependencies"]["docs"]]
    while waiting:
        needed = Requirement(waiting.pop())
        brought.add(canonicalize_name(needed.name))
        waiting += [line for extra in needed.extras if needed.name == "weighbridge" for line in stated["optional-dependencies"][extra]]
    holders = packages_distributions()

    missing = {}
    for path in [*(ROOT / "plugins").rglob("*.py"), *(ROOT / "harness").rglob("*.py")]:
        for statement in ast.parse(path.read_text(encoding="utf-8")).body:
            names = [alias.name for alias in statement.names] if isinstance(statement, ast.Import) else []
            names += [statement.module or ""] if isinstance(statement, ast.ImportFrom) and not statement.level else []
            for top in {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"harness", "plugins"}:
                if not {canonicalize_name(holder) for holder in holders.get(top, [])} & brought:
                    missing[top] = path.name

    assert set(missing) <= {"pytest", "pydantic_core", "_pytest"}


def test_a_link_that_leads_nowhere_is_found(tmp_path):
    checker = load_script("check_links")
    page = tmp_path / "page.md"
    page.write_text(
        "# A title, *set* so\n\n[a](nowhere.md) [b](#a-title-set-so) [c](#another)\n\n![d](https://example.org/e.png) `[f](g.md)`\n"
    )
    checker.tracked = lambda: {page}

    found = [fault.partition("page.md:")[2] for fault in checker.broken_links(page)]

    assert found == ["3: there is no 'nowhere.md'", "3: 'page.md' has no heading '#another'"]
