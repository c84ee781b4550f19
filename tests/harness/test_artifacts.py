"""Artifacts: built once, known by what they are made of, and checked."""

from __future__ import annotations

import collections
import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest

from harness import Artifact, DataError, Dataset, RawData, Source, artifacts, data
from harness.artifacts import artifact_key, contents_of, is_built, obtain, verify_artifact

MAKER = """
import os, time
from dataclasses import dataclass
from typing import Annotated
from annotated_types import Ge
from harness import RawData, Source
from harness.data import content_hash, load
import numpy as np

RAW = RawData("ones", "Ones", content_hash({"x": np.ones(3)}), "CC0", "nobody", 24, (Source("file", "ones", "tiny_maker:read"),))

def read(folder):
    return {"x": np.ones(3)}

@dataclass
class Doubled:
    '''Twice the raw data.'''
    factor: Annotated[int, Ge(1)] = 2

    def build(self, folder):
        with open(os.environ.get("BUILDS", os.devnull), "a") as file:
            file.write("build\\n")
        time.sleep(0.2)
        (folder / "deep").mkdir()
        np.save(folder / "deep" / "x.npy", load(RAW)["x"] * self.factor)

@dataclass
class Broken:
    def build(self, folder):
        (folder / "half").write_text("written before the fault")
        raise RuntimeError("bad day")

@dataclass
class Needy:
    def build(self, folder):
        import package_that_nobody_has
"""


@pytest.fixture
def maker(tmp_path, monkeypatch):
    """Give a cache, a module with makers that child processes can import too, and that module's path."""
    (tmp_path / "modules").mkdir()
    path = tmp_path / "modules" / "tiny_maker.py"
    path.write_text(MAKER)
    monkeypatch.syspath_prepend(path.parent)
    monkeypatch.delitem(sys.modules, "tiny_maker", raising=False)
    monkeypatch.setenv("BENCH_DATA_HOME", str(tmp_path / "home"))
    artifacts._code_hash.cache_clear()
    yield path
    artifacts._code_hash.cache_clear()


def doubled(entry: str = "Doubled", **rest: object) -> Artifact:
    import tiny_maker

    given = {"raw": (tiny_maker.RAW,), **rest}

    return Artifact("doubled", "Twice", f"tiny_maker:{entry}", "CC0", "nobody", 100, **given)


def failure(artifact: Artifact, parameters: dict[str, object] | None = None) -> str:
    with pytest.raises(Exception) as caught:  # noqa: PT011  # the caller looks at the message
        obtain(artifact, parameters)

    return str(caught.value)


def test_it_is_built_once_from_its_raw_data_and_described(maker, tmp_path, monkeypatch):
    monkeypatch.setenv("BUILDS", str(tmp_path / "builds"))
    said: list[str] = []

    folder = obtain(doubled(), None, said.append)
    again = obtain(doubled(), None, said.append)

    assert folder == again == tmp_path / "home" / "artifacts" / f"doubled-{artifact_key(doubled())[:12]}"
    np.testing.assert_array_equal(np.load(folder / "deep" / "x.npy"), [2, 2, 2])
    assert (tmp_path / "builds").read_text() == "build\n"
    assert said == ["doubled: building (Twice)"]
    description = json.loads((folder / "artifact.json").read_text())
    assert (description["artifact"], description["made_of"], list(description["files"])) == (
        "doubled",
        contents_of(doubled()),
        ["deep/x.npy"],
    )


def test_a_long_build_is_heard_of_again_and_again(maker, monkeypatch):
    monkeypatch.setattr(artifacts, "SAY_EVERY_SECONDS", 0.02)  # the build sleeps ten times as long
    said: list[str] = []

    obtain(doubled(), None, said.append)
    so_far = len(said)
    time.sleep(0.1)

    assert len(said) == so_far > 2
    assert set(said[1:]) == {"doubled: building for 0 s"}


def test_parameters_make_another_artifact_and_are_checked(maker):
    folder = obtain(doubled(), {"factor": 5})

    assert np.load(folder / "deep" / "x.npy")[0] == 5
    assert not is_built(doubled())
    assert "greater than or equal to 1" in failure(doubled(), {"factor": 0})
    assert "did you mean 'factor'?" in failure(doubled(), {"factr": 3})


def test_the_key_follows_code_and_content_and_not_comments(maker):
    before = artifact_key(doubled())

    maker.write_text(MAKER.replace("'''Twice the raw data.'''", "# twice the raw data"))
    artifacts._code_hash.cache_clear()
    same = artifact_key(doubled())
    maker.write_text(MAKER.replace("* self.factor", "+ self.factor"))
    artifacts._code_hash.cache_clear()
    other_code = artifact_key(doubled())
    maker.write_text(MAKER)
    artifacts._code_hash.cache_clear()
    other_raw = artifact_key(doubled(raw=(RawData("ones", "Ones", "0" * 64, "", "", 1, ()),)))
    other_part = artifact_key(doubled(artifacts=(doubled("Broken"),)))

    assert before == same
    assert len({before, other_code, other_raw, other_part}) == 4


def test_an_artifact_stands_in_the_key_of_the_trials_that_use_it(maker):
    spec = Dataset("d", "toy", "tiny_maker:Doubled", "", raw=doubled().raw, artifacts=(doubled(),), models=(doubled("Needy"),))

    assert contents_of(spec) == [doubled().raw[0].content, artifact_key(doubled()), artifact_key(doubled("Needy"))]


def test_a_build_that_fails_leaves_nothing_and_says_why(maker, tmp_path):
    message = failure(doubled("Broken"))

    assert "artifact 'doubled' could not be built: RuntimeError: bad day" in message
    assert [path.name for path in (tmp_path / "home" / "artifacts").iterdir() if path.suffix != ".lock"] == []


def test_a_missing_package_names_the_extra(maker):
    assert "needs the package 'package_that_nobody_has': pip install 'weighbridge[models]'" in failure(doubled("Needy", extra="models"))


def test_raw_data_that_cannot_be_had_is_the_reason(maker):
    raw = RawData("gone", "Gone", "0" * 64, "", "nobody", 1, (Source("package", "package_that_nobody_has", "tiny_maker:read"),))

    message = failure(doubled(raw=(raw,)))

    assert "data set 'gone' could not be had" in message


def test_verify_sees_a_flipped_byte_and_a_file_that_is_gone(maker):
    folder = obtain(doubled())
    verify_artifact(doubled())
    path = folder / "deep" / "x.npy"
    sound = path.read_bytes()

    path.write_bytes(sound[:-1] + b"\xff")
    with pytest.raises(DataError, match=r"deep/x.npy is not as built; delete that folder"):
        verify_artifact(doubled())
    path.unlink()
    with pytest.raises(DataError, match=r"deep/x.npy is not as built"):
        verify_artifact(doubled())
    (folder / "artifact.json").write_text("{")
    with pytest.raises(DataError, match=r"artifact.json is not as built"):
        verify_artifact(doubled())


def test_verify_says_when_there_is_nothing_to_verify(maker):
    with pytest.raises(DataError, match="`bench data fetch doubled` builds it"):
        verify_artifact(doubled())


def test_what_a_killed_process_left_is_cleared(maker, tmp_path):
    scratch = tmp_path / "home" / "artifacts" / f".doubled-{artifact_key(doubled())[:12]}.partial"
    (scratch / "deep").mkdir(parents=True)

    obtain(doubled())

    assert not scratch.exists()


def test_two_processes_that_want_the_same_one_build_it_once(maker, tmp_path):
    code = textwrap.dedent("""
        import tiny_maker
        from harness import Artifact
        from harness.artifacts import obtain
        print(obtain(Artifact("doubled", "Twice", "tiny_maker:Doubled", "CC0", "nobody", 100, raw=(tiny_maker.RAW,))).name)
    """)
    path = os.pathsep.join([str(maker.parent), str(Path(data.__file__).parents[1])])
    environment = {**os.environ, "BUILDS": str(tmp_path / "builds"), "PYTHONPATH": path}

    both = [subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate(timeout=60)[0].strip() for process in both]

    assert said[0] == said[1] == f"doubled-{artifact_key(doubled())[:12]}"
    assert (tmp_path / "builds").read_text() == "build\n"


def test_a_cache_that_cannot_be_written_is_named(maker, tmp_path):
    data.fetch(doubled().raw[0])
    (tmp_path / "home" / "artifacts").write_text("a file where the folder should be")

    assert "set BENCH_DATA_HOME to another folder" in failure(doubled())


def test_a_disk_without_room_is_told_before_it_is_built(maker, monkeypatch, tmp_path):
    data.fetch(doubled().raw[0])
    usage = collections.namedtuple("usage", "free")
    monkeypatch.setenv("BUILDS", str(tmp_path / "builds"))
    monkeypatch.setattr(data.shutil, "disk_usage", lambda folder: usage(10))

    assert "are free; make room there" in failure(doubled())
    assert not (tmp_path / "builds").exists()


@pytest.mark.parametrize("place", [".doubled-{}.partial", "doubled-{}"])
def test_a_link_in_the_cache_is_not_followed_when_an_artifact_is_written(maker, tmp_path, place):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "kept").touch()
    link = tmp_path / "home" / "artifacts" / place.format(artifact_key(doubled())[:12])
    link.parent.mkdir(parents=True)
    link.symlink_to(tmp_path / "elsewhere" if link.name.startswith(".") else tmp_path / "nowhere")

    folder = obtain(doubled())

    assert (folder / "deep" / "x.npy").is_file()
    assert not folder.is_symlink()
    assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["kept"]
    assert not (tmp_path / "nowhere").exists()
