"""Pickles of data packages: arrays and frames come back, and nothing else is called."""

from __future__ import annotations

import importlib
import os
import pickle
import subprocess

import numpy as np
import pandas as pd
import pytest

from harness.unpickle import load_pickle


class Calls:
    """Pickles as a call of ``function`` with ``arguments``."""

    def __init__(self, function, *arguments) -> None:
        self.call = (function, arguments)

    def __reduce__(self):
        return self.call


@pytest.mark.usefixtures("texts_without_pyarrow")
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_and_frames_come_back(protocol):
    frame = pd.DataFrame(
        {
            "number": [1.5, np.nan],
            "count": [1, 2],
            "text": ["a", None],
            "level": pd.Categorical(["low", "high"], ["low", "high"], ordered=True),
            "truth": [True, False],
            "day": pd.to_datetime(["2020-01-01", "2020-01-02"]),
        }
    )
    array = np.arange(6, dtype=np.float32).reshape(2, 3)

    pd.testing.assert_frame_equal(load_pickle(pickle.dumps(frame, protocol)), frame)
    np.testing.assert_array_equal(load_pickle(pickle.dumps(array, protocol)), array)
    np.testing.assert_array_equal(load_pickle(pickle.dumps({"a": [array]}, protocol))["a"][0], array)


MARK = "MARK"  # stands for the file that a call would make

REFUSED = {
    "system": (os.system, f"touch {MARK}"),
    "run": (subprocess.run, f"touch {MARK}"),
    "eval": (eval, f"open('{MARK}', 'w')"),
    "pandas.eval": (pd.eval, "1 + 1"),
    "numpy.load": (np.load, MARK),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_pickle_that_names_anything_else_is_refused_and_calls_nothing(tmp_path, name):
    function, argument = REFUSED[name]
    mark = tmp_path / "mark"
    content = pickle.dumps(Calls(function, argument.replace(MARK, str(mark))))

    with pytest.raises(pickle.UnpicklingError, match=rf"{name.rpartition('.')[2]}', which no array or data frame needs"):
        load_pickle(content)

    assert not mark.exists()


@pytest.mark.parametrize("name", ["getattr", "__import__", "exec"])
def test_a_builtin_that_leads_to_everything_is_refused(name):
    with pytest.raises(pickle.UnpicklingError, match=rf"builtins.{name}"):
        load_pickle(f"cbuiltins\n{name}\n.".encode())


def test_a_dotted_name_does_not_lead_out_of_an_admitted_class():
    content = b"\x80\x04\x8c\x05numpy\x8c\x11ndarray.__class__\x93."

    with pytest.raises(pickle.UnpicklingError, match=r"ndarray\.__class__"):
        load_pickle(content)


def test_a_pickle_that_is_cut_short_is_an_error():
    with pytest.raises((pickle.UnpicklingError, EOFError)):
        load_pickle(pickle.dumps(np.arange(1000))[:-100])


@pytest.mark.parametrize("state", ["(N(dS'planted'\nS'y'\nst", "(dS'planted'\nS'y'\ns"], ids=["slots", "attributes"])
@pytest.mark.parametrize(
    ("module", "name"), [("pandas", "Index"), ("pandas", "DataFrame"), ("pandas.core.internals.blocks", "new_block"), ("numpy", "ndarray")]
)
def test_a_class_or_a_function_that_is_admitted_is_given_no_state(module, name, state):
    content = f"c{module}\n{name}\n{state}b.".encode()

    with pytest.raises(pickle.UnpicklingError, match="not an object of its own"):
        load_pickle(content)

    assert not hasattr(getattr(importlib.import_module(module), name), "planted")
