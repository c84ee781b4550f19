"""The modules of an installed distribution count as code, however it was installed; and the packages of its extras that are not there."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import sys

import pytest

from harness.fingerprint import CodeIndex
from harness.installed import missing_packages, modules_of

METHOD = "from {core} import STRENGTH\n\n\nclass LabSel:\n    def answer(self, data, run):\n        return STRENGTH\n"

# What setuptools leaves, shortened: names and attributes are those of its template.
FINDER = """
import sys
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import spec_from_file_location
from pathlib import Path

MAPPING: dict[str, str] = {mapping!r}
NAMESPACES: dict[str, list[str]] = {namespaces!r}
PATH_PLACEHOLDER = "__editable__.lab-1.0.finder.__path_hook__"


class _EditableFinder:
    @classmethod
    def find_spec(cls, fullname, path=None, target=None):
        if fullname in MAPPING:
            folder = Path(MAPPING[fullname])
            for place in (folder / "__init__.py", folder.with_suffix(".py")):
                if place.exists():
                    return spec_from_file_location(fullname, place)
        parent = fullname.rpartition(".")[0]
        if parent in MAPPING:
            return PathFinder.find_spec(fullname, path=[MAPPING[parent]])
        return None


class _EditableNamespaceFinder:
    @classmethod
    def find_spec(cls, fullname, target=None):
        if fullname not in NAMESPACES:
            return None
        spec = ModuleSpec(fullname, None, is_package=True)
        spec.submodule_search_locations = [*NAMESPACES[fullname], PATH_PLACEHOLDER]
        return spec

    @classmethod
    def hook(cls, path):
        if path != PATH_PLACEHOLDER:
            raise ImportError
        return cls


def install():
    sys.meta_path.append(_EditableFinder)
    sys.path_hooks.append(_EditableNamespaceFinder.hook)
    sys.path.append(PATH_PLACEHOLDER)
"""
EDITABLES = "from editables.redirector import RedirectingFinder as F\nF.install()\n"


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder of site-packages whose path files have been read, as the interpreter does when it starts."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setattr(sys, "path_hooks", list(sys.path_hooks))
    monkeypatch.setattr(sys, "path", [*sys.path, str(folder)])
    sys.path_importer_cache.pop("__editable__.lab-1.0.finder.__path_hook__", None)

    def install(files, *, paths=(), run=None, **noted):
        """Write what an installer leaves, and do what its path files say: add ``paths``, or run a module."""
        info = folder / "lab-1.0.dist-info"
        info.mkdir()
        for name, text in (files | {f"lab-1.0.dist-info/{name}": text for name, text in noted.items()}).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lab\nVersion: 1.0\n", encoding="utf-8")
        (info / "RECORD").write_text("".join(f"{name},,\n" for name in [*files, "lab-1.0.dist-info/METADATA"]), encoding="utf-8")
        importlib.invalidate_caches()
        sys.path += paths
        if run is not None:
            module = importlib.import_module(run)
            getattr(module, "install", lambda: None)()

    yield install
    for name in ("__editable___lab_1_0_finder", "_editable_impl_lab"):
        sys.modules.pop(name, None)
    importlib.invalidate_caches()


def packages(folder, method="labmethod", core="labcore"):
    """Write two packages, the first of which takes a constant from the second."""
    for package, name, text in ((method, "method", METHOD.format(core=f"{core}.knobs")), (core, "knobs", "STRENGTH = 0.1\n")):
        place = folder.joinpath(*package.split("."))
        place.mkdir(parents=True, exist_ok=True)
        (place / "__init__.py").touch()
        (place / f"{name}.py").write_text(text, encoding="utf-8")

    return folder


def finder(mapping, namespaces=None):
    mapping = {name: str(path) for name, path in mapping.items()}

    return {
        "__editable___lab_1_0_finder.py": FINDER.format(mapping=mapping, namespaces=namespaces or {}),
        "__editable__.lab-1.0.pth": "import __editable___lab_1_0_finder; __editable___lab_1_0_finder.install()\n",
    }


def copied(site, project):
    files = {path.relative_to(project).as_posix(): path.read_text() for path in packages(project).rglob("*.py")}
    site(files)


def path_file(site, project):
    source = packages(project / "code")
    site({"_lab.pth": f"{source}\n"}, paths=[str(source)])


def mapped_by_setuptools(site, project):
    packages(project)
    mapping = {name: project / name for name in ("labmethod", "labcore")}
    site(finder(mapping), run="__editable___lab_1_0_finder")


def mapped_by_editables(site, project):
    packages(project)
    lines = "".join(f"F.map_module({name!r}, {str(project / name / '__init__.py')!r})\n" for name in ("labmethod", "labcore"))
    site({"_editable_impl_lab.py": EDITABLES + lines, "_editable_impl_lab.pth": "import _editable_impl_lab\n"}, run="_editable_impl_lab")


def noted_by_the_installer(site, project):
    packages(project / "src")
    noted = json.dumps({"url": project.as_uri(), "dir_info": {"editable": True}})
    site({}, paths=[str(project / "src")], **{"direct_url.json": noted})


def named_by_setuptools(site, project):
    packages(project)
    site({}, paths=[str(project)], **{"top_level.txt": "labcore\nlabmethod\n"})


WAYS = (copied, path_file, mapped_by_setuptools, mapped_by_editables, noted_by_the_installer, named_by_setuptools)


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_constant_in_the_second_package_of_a_distribution_counts(site, tmp_path, way):
    (tmp_path / "project name").mkdir()
    way(site, tmp_path / "project name")

    roots = modules_of("lab")
    before = CodeIndex(roots).closure("labmethod.method:LabSel")
    (knobs,) = (path for path in tmp_path.rglob("knobs.py") if way is not copied or "site" in path.parts)
    knobs.write_text("STRENGTH = 0.25\n", encoding="utf-8")

    assert roots >= {"labmethod", "labcore"}
    assert not roots & {"sys", "os", "importlib", "pathlib", "editables"}
    assert "labcore.knobs:STRENGTH" in before.parts
    assert CodeIndex(roots).code_hash("labmethod.method:LabSel", with_fields=False) != before.digest


@pytest.mark.parametrize("mapped", [False, True])
def test_a_namespace_package_that_is_developed_elsewhere_counts(site, tmp_path, mapped):
    source = packages(tmp_path / "code", "acme_of_test.method", "acme_of_test.core")
    if mapped:
        mapping = {name: source / "acme_of_test" / name.rpartition(".")[2] for name in ("acme_of_test.method", "acme_of_test.core")}
        site(finder(mapping, {"acme_of_test": []}), run="__editable___lab_1_0_finder")
    else:
        site({"lab.pth": f"{source}\n"}, paths=[str(source)])

    roots = modules_of("lab")

    assert "acme_of_test" in roots
    assert "acme_of_test.core.knobs:STRENGTH" in CodeIndex(roots).closure("acme_of_test.method.method:LabSel").parts


def test_a_distribution_of_single_modules_counts(site, tmp_path):
    for name, text in (("labone", METHOD.format(core="labtwo")), ("labtwo", "STRENGTH = 0.1\n")):
        (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    site(finder({name: tmp_path / name for name in ("labone", "labtwo")}), run="__editable___lab_1_0_finder")

    roots = modules_of("lab")

    assert "labtwo:STRENGTH" in CodeIndex(roots).closure("labone:LabSel").parts


def test_what_lies_beside_a_project_and_is_imported_from_elsewhere_does_not_count(site, tmp_path):
    packages(tmp_path / "src")
    for name in ("json", "numpy", "docs"):
        (tmp_path / "src" / name).mkdir()
    site({"lab.pth": f"# a comment\nimport os\n{tmp_path / 'src'}\n"}, paths=[str(tmp_path / "src")])

    roots = modules_of("lab")

    assert {"labmethod", "labcore"} <= roots
    assert not roots & {"json", "numpy", "os"}


REQUIRES = {
    "lab": [
        "numpy",
        "absent-base",
        "lab[deep]; extra == 'all'",
        "absent_one>=2; extra == 'all'",
        "pytest; extra == 'all'",
        "absent-two; extra == 'deep'",
        "absent-three; extra == 'deep' and python_version < '3'",
        "not a requirement; extra ==",
    ],
}


@pytest.mark.parametrize(("extra", "missing"), [("all", ["absent-two", "absent_one"]), ("deep", ["absent-two"]), ("other", [])])
def test_the_packages_that_an_extra_lacks_are_named_those_of_extras_within_it_too(monkeypatch, extra, missing):
    monkeypatch.setattr(importlib.metadata, "requires", REQUIRES.get)
    monkeypatch.setattr("harness.installed._is_installed", lambda name: not name.startswith("absent"))

    assert missing_packages("lab", extra) == missing


def test_nothing_is_known_of_a_distribution_that_is_not_installed():
    assert missing_packages("no-such-distribution-anywhere", "all") == []


def test_no_extra_of_the_harness_lacks_a_package_where_its_tests_run():
    assert [missing_packages("weighbridge", extra) for extra in ("images", "lm", "models", "r", "rl", "tables")] == [[]] * 6
