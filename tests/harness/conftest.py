"""What tests share: plugins as installed distributions and as files, and a cluster of Ray."""

from __future__ import annotations

import os

import pytest
from ray_cluster import Cluster


@pytest.fixture
def installed(tmp_path):
    """Install a module as a distribution of its own: what pip leaves in site-packages, in a folder of the path."""
    folder = tmp_path / "site"
    folder.mkdir()

    def install(name, source, version="1.0", point=None):
        (folder / f"{name}.py").write_text(source, encoding="utf-8")
        info = folder / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n", encoding="utf-8")
        (info / "entry_points.txt").write_text(f"[bench]\n{point or name} = {name}\n", encoding="utf-8")

        return os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])

    return install


@pytest.fixture
def written(tmp_path):
    """Write a plugin file for ``--plugin``."""

    def write(name, source):
        path = tmp_path / f"{name}.py"
        path.write_text(source, encoding="utf-8")

        return path

    return write


@pytest.fixture
def cluster(bench):
    started = Cluster(bench)
    yield started
    started.stop()
