"""
What the harness itself costs, beside benchopt: trials that do nothing, plugins that hold nothing, records of nothing.

Prints a Markdown table and ends with 1 if a target is missed. Every figure is of whole processes, started as a user starts them, in a fresh folder.

    python benchmarks/overhead.py --benchopt peer/bin/python
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import click
from tabulate import tabulate

from harness.environment import machine_facts

HERE = Path(__file__).parent
PLUGIN = HERE / "trivial_plugin.py"
PEER = HERE / "peer_benchopt"

METHODS = 8
SEEDS = 100  # times METHODS: the 800 trials of the table
LARGE = (20, 10, 50)  # methods, data sets, seeds: the 10,000 trials of the table
INSTALLED = 100
POLL_SECONDS = 0.02


@dataclass(frozen=True)
class Usage:
    """
    What one process took.

    Args:
        wall: Seconds.
        cpu: Seconds, user and system, with the children that it waited for.
    """

    wall: float
    cpu: float


@dataclass(frozen=True)
class Line:
    """One line of the table; ``target`` (``None`` for none) and ``value`` in ``unit``, of which less is better."""

    figure: str
    unit: str
    target: float | None
    value: float
    peer: str = "–"

    @property
    def reached(self) -> bool:
        """Whether the figure is below its target, if it has one."""
        return self.target is None or self.value < self.target

    def cells(self) -> list[str]:
        """Return the texts of the line."""
        target, reached = ("–", "–") if self.target is None else (f"< {self.target:g} {self.unit}", "yes" if self.reached else "NO")

        return [self.figure, target, f"{number(self.value)} {self.unit}", reached, self.peer]


@dataclass(frozen=True)
class Place:
    """A folder of its own, and the environment that commands run in."""

    folder: Path
    environment: Mapping[str, str]

    def bench(self, *arguments: object) -> list[str]:
        """Spell a command of the harness."""
        return [sys.executable, "-m", "harness", *map(str, arguments)]

    def suite(self, name: str, methods: int, datasets: int, seeds: int) -> Path:
        """Write a suite of trivial trials."""
        levels = [method / 10 for method in range(methods)]
        path = self.folder / f"{name}.yaml"
        path.write_text(
            f"task: trivial\nbudget: {{steps: 1}}\nseeds: {seeds}\n"
            f"datasets: [{{nothing: {{variant: {list(range(datasets))}}}}}]\n"
            f"methods: [{{constant: {{level: {levels}}}}}]\n",
            encoding="utf-8",
        )

        return path

    def run(self, suite: Path, progress: str = "--quiet", executor: str = "local") -> list[str]:
        """Spell a run on two workers."""
        return self.bench("run", suite, "--plugin", PLUGIN, "--workers", 2, "--executor", executor, progress)

    def measure(self, command: list[str]) -> Usage:
        """
        Run a command to its end.

        Raises:
            RuntimeError: It failed; the message holds what it said.
        """
        with tempfile.TemporaryFile() as output:
            began = time.perf_counter()
            process = subprocess.Popen(command, cwd=self.folder, env=dict(self.environment), stdout=output, stderr=subprocess.STDOUT)
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.perf_counter() - began
            process.returncode = os.waitstatus_to_exitcode(status)
            if process.returncode != 0:
                output.seek(0)
                raise RuntimeError(f"{command} ended with {process.returncode}: {output.read().decode(errors='replace')[-2000:]}")

        return Usage(wall, usage.ru_utime + usage.ru_stime)

    def peak_megabytes(self, command: list[str]) -> float:
        """Run a command and return the highest resident memory of its own process; the kernel's high-water mark is read until it ends."""
        process = subprocess.Popen(
            command, cwd=self.folder, env=dict(self.environment), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        peak = 0.0
        while process.poll() is None:
            for line in Path(f"/proc/{process.pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
                if line.startswith("VmHWM:"):  # gone once the process is a zombie
                    peak = int(line.split()[1]) / 1000
            time.sleep(POLL_SECONDS)
        if process.returncode != 0:
            raise RuntimeError(f"{command} ended with {process.returncode}")

        return peak

    def clear(self) -> None:
        """Forget every record, of either harness."""
        for name in ("results", "__cache__", "outputs"):
            shutil.rmtree(self.folder / name, ignore_errors=True)


def median(measure: Callable[[], float], repeats: int) -> float:
    return statistics.median(measure() for _ in range(repeats))


def number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def install_plugins(folder: Path) -> None:
    """Write distributions as pip leaves them in site-packages: a module and its metadata each; the first one is broken."""
    for index in range(INSTALLED):
        name = f"installed_{index:03d}"
        body = (
            "raise RuntimeError('broken on purpose')\n"
            if index == 0
            else "from harness import Method, hookimpl\n\n\n@hookimpl\ndef bench_methods():\n"
            f"    yield Method('method_{index}', 'trivial', '{name}:Nothing', 'Nothing')\n"
        )
        (folder / f"{name}.py").write_text(body, encoding="utf-8")
        info = folder / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n", encoding="utf-8")
        (info / "entry_points.txt").write_text(f"[bench]\n{name} = {name}\n", encoding="utf-8")


def measure_plugins(place: Place, repeats: int) -> float:
    """CPU of ``bench plugins`` beside installed plugins of which one is broken."""
    folder = place.folder / "installed"
    folder.mkdir()
    install_plugins(folder)
    crowded = Place(place.folder, {**place.environment, "PYTHONPATH": str(folder)})
    shown = subprocess.run(
        crowded.bench("plugins"), cwd=crowded.folder, env=dict(crowded.environment), capture_output=True, text=True, check=True
    ).stdout
    if shown.count("method method_") != INSTALLED - 1 or "broken on purpose" not in shown:
        raise RuntimeError(f"not all plugins were shown: {shown}")

    return median(lambda: crowded.measure(crowded.bench("plugins")).cpu, repeats)


def milliseconds_a_trial(place: Place, command: list[str]) -> float:
    """Wall time from the first record to the last, for each trial between: the engine is up, the second worker still starts."""
    place.clear()
    arrivals = []
    with subprocess.Popen(command, cwd=place.folder, env=dict(place.environment), stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            if json.loads(line)["event"] == "trial":
                arrivals.append(time.perf_counter())
    if process.returncode != 0:
        raise RuntimeError(f"{command} ended with {process.returncode}")

    return (arrivals[-1] - arrivals[0]) / (len(arrivals) - 1) * 1000


def imported_modules(place: Place, command: list[str]) -> set[str]:
    """Top-level packages that a run of the harness imports."""
    timed = [command[0], "-X", "importtime", *command[1:]]
    report = subprocess.run(timed, cwd=place.folder, env=dict(place.environment), capture_output=True, text=True, check=True).stderr

    return {line.rpartition("|")[2].strip().partition(".")[0] for line in report.splitlines() if line.startswith("import time:")}


def measure_leaderboard(place: Place, command: list[str]) -> float:
    """CPU of the command when no computed leaderboard is there to be read."""
    for path in place.folder.glob("results/*/leaderboard.json"):
        path.unlink()

    return place.measure(command).cpu


@dataclass(frozen=True)
class FromNothing:
    """
    Two runs into an empty folder, one of few trials and one of many.

    Args:
        start: Wall seconds of the run of few: the interpreter, the engine, the reports.
        milliseconds: Wall time of the run of many less that of the run of few, for each trial that it has more.
    """

    start: float
    milliseconds: float


def run_from_nothing(place: Place, few: list[str], many: list[str], repeats: int) -> FromNothing:
    """Run both ``repeats`` times in turn and return the medians."""
    starts, marginals = [], []
    for _ in range(repeats):
        place.clear()
        starts.append(place.measure(few).wall)
        place.clear()
        marginals.append((place.measure(many).wall - starts[-1]) / (METHODS * (SEEDS - 1)) * 1000)

    return FromNothing(statistics.median(starts), statistics.median(marginals))


def peer_figures(place: Place, interpreter: str, repeats: int) -> dict[str, str]:
    """The same of benchopt, where it has the same: its repetitions are our seeds."""
    shutil.copytree(PEER, place.folder, dirs_exist_ok=True)

    def command(*arguments: object) -> list[str]:
        return [interpreter, "-m", "benchopt", *map(str, arguments)]

    def run(repetitions: int, *options: object) -> list[str]:
        return command("run", ".", "--no-plot", "--no-display", "-n", 1, "-r", repetitions, *options)

    serial = run_from_nothing(place, run(1), run(SEEDS), repeats)
    rerun = median(lambda: place.measure(run(SEEDS)).cpu, repeats)
    parallel = run_from_nothing(place, run(1, "-j", 2), run(SEEDS, "-j", 2), repeats)

    return {
        "help": f"{number(median(lambda: place.measure(command('--help')).cpu, repeats))} s",
        "start": f"{number(serial.start)} s serial, {number(parallel.start)} s with -j 2",
        "trial": f"{number(serial.milliseconds)} ms serial, {number(parallel.milliseconds)} ms with -j 2",
        "cached": f"{number(rerun)} s",
    }


def trial_lines(
    place: Place,
    executor: str,
    repeats: int,
    milliseconds: float | None = None,
    start: float | None = None,
    peer: Mapping[str, str] = MappingProxyType({}),
) -> Iterator[Line]:
    """Measure what a trial and a run of a few cost on an executor, with their targets; the last run is the longer one."""
    few, many = place.suite("few", METHODS, 1, 1), place.suite("many", METHODS, 1, SEEDS)
    listed = place.run(many, "--json", executor)
    between = median(lambda: milliseconds_a_trial(place, listed), repeats)
    both = run_from_nothing(place, place.run(few, executor=executor), place.run(many, executor=executor), repeats)

    figure = f"a trivial trial among {METHODS * SEEDS}, {executor}, 2 workers, wall from the first record to the last"
    yield Line(figure, "ms", milliseconds, between)
    yield Line(f"the same, {executor}, from the walls of two runs", "ms", milliseconds, both.milliseconds, peer.get("trial", "–"))
    yield Line(f"a run of {METHODS} trivial trials, {executor}, wall", "s", start, both.start, peer.get("start", "–"))


def figures(place: Place, peer: Mapping[str, str], repeats: int) -> Iterator[Line]:
    """Measure line by line; the heavy ones run one after the other, never two at once."""
    yield Line("`bench --help`, CPU", "s", 0.3, median(lambda: place.measure(place.bench("--help")).cpu, repeats), peer.get("help", "–"))
    yield Line(f"`bench plugins`, {INSTALLED} installed, one broken, CPU", "s", 0.5, measure_plugins(place, repeats))

    yield from trial_lines(place, "ray", repeats)
    yield from trial_lines(place, "local", repeats, milliseconds=5, start=1.5, peer=peer)

    suite = place.suite("many", METHODS, 1, SEEDS)  # of which the last run is known
    heavy = imported_modules(place, place.run(suite)) & {"ray", "torch", "scipy", "pandas", "matplotlib"}
    if heavy:
        raise RuntimeError(f"a run with nothing to do imports {', '.join(sorted(heavy))}")
    cached = median(lambda: place.measure(place.run(suite)).cpu, repeats)
    yield Line(f"a rerun of {METHODS * SEEDS} known trials, CPU; no ray, no torch", "s", 1, cached, peer.get("cached", "–"))

    large = place.suite("large", *LARGE)
    total = LARGE[0] * LARGE[1] * LARGE[2]
    for executor, target in (("ray", None), ("local", 250)):
        place.clear()
        peak = place.peak_megabytes(place.run(large, executor=executor))
        yield Line(f"peak memory of the driver, {total:,} trials queued, {executor}", "MB", target, peak)
    command = place.bench("leaderboard", large, "--plugin", PLUGIN)
    yield Line(f"`bench leaderboard` from {total:,} records, CPU", "s", 2, median(lambda: measure_leaderboard(place, command), repeats))


@click.command()
@click.option("--benchopt", "peer", metavar="PYTHON", help="Interpreter of an environment with benchopt; left out without it.")
@click.option("--repeats", type=click.IntRange(min=1), default=5, show_default=True, help="Each figure is the median of so many.")
def main(peer: str | None, repeats: int) -> None:
    """Measure what the harness itself costs and print a table."""
    with tempfile.TemporaryDirectory() as ours, tempfile.TemporaryDirectory() as theirs:
        variables = {name: value for name, value in os.environ.items() if not name.startswith(("BENCH_", "RAY_", "PYTHON"))}
        place = Place(Path(ours), {**variables, "BENCH_DATA_HOME": str(Path(ours) / "home")})
        found = {} if peer is None else peer_figures(Place(Path(theirs), variables), str(Path(peer).absolute()), repeats)
        lines = list(figures(place, found, repeats))

    facts = machine_facts()
    print(f"{facts['cpu']}, {facts['cpu_count']} cores, Python {facts['python']}, median of {repeats}\n")
    print(
        tabulate(
            [line.cells() for line in lines], headers=["figure", "to reach", "weighbridge", "reached", "benchopt 1.10.0"], tablefmt="github"
        )
    )
    sys.exit(0 if all(line.reached for line in lines) else 1)


if __name__ == "__main__":
    main()
