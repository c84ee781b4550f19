"""Which modules an installed distribution has, however it was installed: copied, or left where it is developed."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import json
import sysconfig
import tokenize
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path

__all__ = ["is_developed", "missing_packages", "modules_of"]

DIRECT_URL = "direct_url.json"  # PEP 610
TOP_LEVEL = "top_level.txt"
PATH_FILE = ".pth"


def modules_of(distribution: str) -> set[str]:
    """
    Name the top-level modules and packages of a distribution; one too many does no harm, since code counts where it is reached.

    An editable installation lists none of them among its files: it has a path file with a folder, or a finder whose text names them.
    """
    found = importlib.metadata.distribution(distribution)
    files = found.files or []
    names = {file.parts[0].removesuffix(".py") for file in files if file.suffix == ".py" and file.parts[0] not in ("..", ".")}
    names |= set((found.read_text(TOP_LEVEL) or "").split())
    folders: list[Path] = []
    for file in files:
        if file.suffix == PATH_FILE and len(file.parts) == 1:
            folders += _folders_in(Path(str(found.locate_file(file))))
        elif file.suffix == ".py" and len(file.parts) == 1 and "editable" in file.name:
            names |= set(_modules_named_in(Path(str(found.locate_file(file)))))
    project = _project(found)
    if project is not None:
        folders += [project, project / "src"]
    for folder in folders:
        names |= set(_modules_below(folder))

    return {name for name in names if name.isidentifier()}


def missing_packages(distribution: str, extra: str) -> list[str]:
    """
    Name the packages of an optional dependency group that are not installed; none where the distribution itself is not, or has no such group.

    Versions are not compared: that is the installer's.
    """
    from packaging.requirements import InvalidRequirement, Requirement

    missing, seen, waiting = [], set(), [(distribution, extra)]
    while waiting:
        owner, group = waiting.pop()
        if (owner, group) in seen:
            continue
        seen.add((owner, group))
        try:
            stated = importlib.metadata.requires(owner) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        for line in stated:
            try:
                needed = Requirement(line)
            except InvalidRequirement:
                continue
            if needed.marker is None or needed.marker.evaluate({"extra": ""}) or not needed.marker.evaluate({"extra": group}):
                continue
            waiting += [(needed.name, inner) for inner in sorted(needed.extras)]  # "weighbridge[models]" within its own group
            if not _is_installed(needed.name):
                missing.append(needed.name)

    return sorted(set(missing))


def _is_installed(distribution: str) -> bool:
    try:
        importlib.metadata.distribution(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False

    return True


def _project(distribution: importlib.metadata.Distribution) -> Path | None:
    """Return the folder that an editable installation leads to, where the installer has noted it."""
    try:
        noted = json.loads(distribution.read_text(DIRECT_URL) or "null")
        is_editable = noted["dir_info"]["editable"]
        address = urllib.parse.urlsplit(noted["url"])
    except (KeyError, TypeError, ValueError):
        return None

    return Path(urllib.request.url2pathname(address.path)) if is_editable is True and address.scheme == "file" else None


def _folders_in(path_file: Path) -> Iterator[Path]:
    """Give the folders that a path file names; its other lines run code."""
    try:
        lines = path_file.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return
    for line in lines:
        if line.strip() and not line.startswith(("#", "import ", "import\t")):
            yield path_file.parent / line.strip()


def _modules_named_in(finder: Path) -> Iterator[str]:
    """Give the top-level modules that the text of a finder names and that lie where somebody develops."""
    try:
        with tokenize.open(finder) as file:
            tree = ast.parse(file.read())
    except (OSError, SyntaxError, ValueError):
        return
    words = {node.value.partition(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    for word in sorted(word for word in words if word.isidentifier()):
        if is_developed(word):
            yield word


def is_developed(module: str) -> bool:
    """Whether a top-level module lies neither in the standard library nor among what was copied by an installer."""
    copied = [Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    # A namespace package whose parts a finder maps lies at a word of that finder's, which is no path.
    return any(not place.is_absolute() or not any(place.resolve().is_relative_to(folder) for folder in copied) for place in _places(module))


def _places(module: str) -> list[Path]:
    """Return where a top-level module lies, without importing it: a file, or the folders of a package."""
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return []
    if spec is None:
        return []

    return [
        Path(place) for place in [*(spec.submodule_search_locations or []), *([spec.origin] if spec.has_location and spec.origin else [])]
    ]


def _modules_below(folder: Path) -> Iterator[str]:
    """Name the modules, packages and namespace packages of a folder that are imported from there."""
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return
    names = [entry.stem if entry.suffix == ".py" else entry.name for entry in entries if entry.suffix == ".py" or entry.is_dir()]
    for name in names:
        if name.isidentifier() and any(place.resolve().is_relative_to(folder.resolve()) for place in _places(name)):
            yield name
