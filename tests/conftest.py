"""What the tests share: a folder of their own, the toy plugin, the command line in its own process, and an environment with the wheel."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest
from warm_bench import Warm, users_environment

os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run in parallel; read by numpy and torch when they are imported

hypothesis.settings.register_profile("busy", deadline=None)  # no test may fail because the machine has other work
hypothesis.settings.load_profile("busy")

ROOT = Path(__file__).parent.parent
# A script in the background ignores Ctrl-C, one behind `nohup` the end of its terminal, and processes inherit that; some tests send both.
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)

pytest_plugins = ["remember"]
STARTS_PROCESSES = {"bench", "bench_in", "installation", "reader"}
TOY = Path(__file__).parent / "harness" / "toy_plugin.py"


@dataclass
class Bench:
    """
    Runs ``bench`` in a folder of its own, as a user would: in a child of a warm server, or, by ``process``, in a process that is started.

    The latter is for tests of Ray, of starting up, of what the interpreter reads when it starts, and of signals.
    """

    folder: Path
    environment: dict[str, str]
    warm: Warm

    def __call__(self, *arguments: object, timeout: float = 120, **variables: str) -> subprocess.CompletedProcess[str]:
        return self.warm.run(list(map(str, arguments)), self.folder, self.environment | variables, timeout)

    def process(self, *arguments: object, timeout: float = 120, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments), cwd=self.folder, env=self.environment | variables, capture_output=True, text=True, timeout=timeout
        )

    def client(self, *arguments: object) -> list[str]:
        """Return the command of a warm call, for a test that has a terminal for it, or does not wait for its end; no signal reaches what it calls."""
        return [*self.warm.command(), *map(str, arguments)]

    def command(self, *arguments: object) -> list[str]:
        return [sys.executable, "-m", "harness", *map(str, arguments)]

    def suite(self, text: str, name: str = "suite.yaml") -> Path:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")

        return path


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark what starts a process, so that the tests of orders (``make test-orders``) can leave it out."""
    if STARTS_PROCESSES & set(getattr(item, "fixturenames", ())):
        item.add_marker("process")


@pytest.fixture(autouse=True)
def torch_draws_as_the_order_seed_says(request: pytest.FixtureRequest) -> None:
    """Give torch's global generator the seed that pytest-randomly gives those of Python and numpy: what fails, fails alone too."""
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(request.config.getoption("randomly_seed", default=0))


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    with tempfile.TemporaryDirectory(prefix="bench") as folder:  # the name of a socket has at most a hundred characters
        server = Warm(Path(folder))
        yield server
        server.close()


@pytest.fixture(scope="session")
def bench_in(warm: Warm) -> Callable[[Path], Bench]:
    def make(folder: Path) -> Bench:
        home = os.environ.get("BENCH_DATA_HOME", str(folder / "home"))

        # What a test edits twice within a second is read anew; bytecode that is there is used.
        own = {"BENCH_DATA_HOME": home, "COLUMNS": "160", "PYTHONDONTWRITEBYTECODE": "1"}

        return Bench(folder, users_environment() | own, warm)

    return make


@pytest.fixture
def bench(bench_in: Callable[[Path], Bench], tmp_path: Path) -> Bench:
    return bench_in(tmp_path)


@pytest.fixture(scope="session")
def toy() -> Path:
    return TOY


@dataclass(frozen=True)
class Installation:
    """
    A virtual environment that holds the wheel.

    What the wheel depends on is borrowed from the running interpreter; with TEST_FULL_INSTALLATION set, pip installs all of it, as it does for a stranger.
    """

    prefix: Path
    environment: dict[str, str]
    full: bool

    def python(self, *arguments: object, folder: Path | None = None, **options: object) -> subprocess.CompletedProcess[str]:
        command = [str(self.prefix / "bin" / "python"), *map(str, arguments)]

        return subprocess.run(
            command, cwd=folder or self.prefix, env=self.environment, capture_output=True, text=True, timeout=1800, **options
        )

    def pip(self, *arguments: object) -> None:
        done = self.python("-m", "pip", "--disable-pip-version-check", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr

    def install(self, folder: Path) -> None:
        """Install a third party's distribution; without an index nothing can be fetched that an isolated or editable build needs."""
        if self.full:
            self.pip("install", "--editable", f"{folder}[test]")
        else:
            self.pip("install", "--no-index", "--no-deps", "--no-build-isolation", folder)

    def bench(self, folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
        command = [str(self.prefix / "bin" / "bench"), *map(str, arguments)]

        return subprocess.run(command, cwd=folder, env=self.environment, capture_output=True, text=True, timeout=240)


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    home = tmp_path_factory.mktemp("installation")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(home / "dist"), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True, timeout=120)
    prefix = home / "environment"
    subprocess.run([sys.executable, "-m", "venv", str(prefix)], check=True, capture_output=True, timeout=120)
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("BENCH_PLUGINS", "COV_", "PYTHON", "RAY_", "VIRTUAL"))
    }
    data = os.environ.get("BENCH_DATA_HOME", str(home / "data"))
    made = Installation(prefix, kept | {"BENCH_DATA_HOME": data, "COLUMNS": "160"}, full="TEST_FULL_INSTALLATION" in os.environ)
    (wheel,) = (home / "dist").glob("*.whl")
    if made.full:
        made.pip("install", "--constraint", ROOT / "constraints.txt", wheel)
        return made
    made.pip("install", "--no-index", "--no-deps", wheel)
    # A path file is read after the environment's own packages are on the path, and path files inside the folder that it names are not read at all:
    # the borrowed packages come second, and the editable installation of the checkout is not among them.
    (site_packages,) = prefix.glob("lib/python*/site-packages")
    (site_packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")

    return made


@pytest.fixture
def texts_without_pyarrow():
    """Let pandas keep texts in arrays of its own, as it did where the pickles of data packages were made, though pyarrow is installed."""
    import pandas as pd

    with pd.option_context("mode.string_storage", "python"):
        yield
