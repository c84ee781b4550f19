"""Where suites are, and what they are called by."""

from __future__ import annotations

from pathlib import Path

from harness.errors import SuiteError, nearest

__all__ = ["find_suite", "suite_folders", "suite_name"]

BUNDLED_FOLDER = "bundled_suites"  # what the folder `suites` is called in a wheel


def find_suite(name: str) -> Path:
    """
    Find a suite by path, or by name in ``suites/`` here or among the bundled ones.

    Raises:
        SuiteError: There is none; the message names the nearest one.
    """
    path = Path(name)
    if path.suffix in {".yaml", ".yml"} or path.is_file():
        if not path.is_file():
            raise SuiteError(f"{name}: there is no such file{_hint_suite(path.stem)}")
        return path
    for folder in suite_folders():
        candidate = folder / f"{name}.yaml"
        if candidate.is_file():
            return candidate
    raise SuiteError(f"no suite '{name}'{_hint_suite(name)}")


def suite_name(path: Path) -> str:
    """Name a suite by its path below the nearest folder ``suites`` (``paper/noisy_labels``), else by its file name."""
    parts = path.resolve().with_suffix("").parts
    places = [position for position, part in enumerate(parts[:-1]) if part in ("suites", BUNDLED_FOLDER)]

    return "/".join(parts[places[-1] + 1 :]) if places else parts[-1]


def suite_folders() -> list[Path]:
    """Return where suites are looked for by name: ``suites/`` here, then the bundled ones."""
    package = Path(__file__).parent
    folders = [Path("suites"), package / BUNDLED_FOLDER, package.parent / "suites"]

    return [folder for folder in folders if folder.is_dir()]


def _hint_suite(name: str) -> str:
    names = sorted({path.relative_to(folder).with_suffix("").as_posix() for folder in suite_folders() for path in folder.rglob("*.yaml")})
    hint = nearest(name, names)

    return f"\n    {hint + '   ' if hint else ''}known suites: {', '.join(names)}" if names else ""
