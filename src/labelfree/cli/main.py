"""The verbs of the command line, their help, and the conversion of errors to exit codes."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import NoReturn

from labelfree.cli.failures import sentence
from labelfree.cli.notes import tell_data_warnings
from labelfree.cli.terminal import ClosedOutput, Signals, drain, drop, plain_output, say
from labelfree.errors import InputError, printable
from labelfree.runtime.lab import PACKAGE as LAB_PACKAGE
from labelfree.runtime.lab import lab_module

BAD_INPUT = 2
KILLED_BY = 128
"""Added to a signal's number to give the exit code, as shells do."""

STOPPED = "stopped; run the same command again to resume."
DEFECT = (
    "This is a defect of labelfree: please report it with the lines above, the command and the output of "
    "'labelfree info'."
)

OVERRIDES = "--a.b=c overrides a setting, for example --train.epochs=3; 'labelfree settings' lists all settings."

MAX_THREADS = 1024


@dataclass(frozen=True)
class Verb:
    """One verb and its module, which is imported only when the verb is used."""

    name: str
    module: str
    help: str
    overrides: bool = False
    """Whether `--a.b=c` settings may follow."""


VERBS = (
    Verb(
        "demo",
        "labelfree_lab.commands.demo",
        "train CNS on procedural rooms and measure it; needs no data and no download",
        True,
    ),
    Verb(
        "run", "labelfree.cli.run", "check, label, train, predict and report on your own capture in one command", True
    ),
    Verb("check", "labelfree.cli.check", "validate captures or a dataset and report how to fix problems"),
    Verb(
        "prepare", "labelfree.cli.prepare", "validate a whole dataset: counts, missing files, disk space and time", True
    ),
    Verb("import", "labelfree.cli.import_bag", "write a ROS bag or an MCAP file as a capture; repeat it to resume"),
    Verb("label", "labelfree.cli.label", "write CLIP labels, SAM masks and voted labels, without training", True),
    Verb("train", "labelfree.cli.train", "co-train the 2D and the 3D network on labels of CLIP and SAM", True),
    Verb("evaluate", "labelfree.cli.evaluate", "measure a run's networks and its pseudo-labels against ground truth"),
    Verb(
        "calibrate",
        "labelfree.cli.calibrate",
        "measure how hard data is: bounds of masks and segments, misfit of points, gain of the vote, shortcuts",
        True,
    ),
    Verb("segments", "labelfree.cli.segments", "segment clouds by geometry and SAM masks, without classes", True),
    Verb("predict", "labelfree.cli.predict", "label an image, a folder of images, a point cloud or a scene"),
    Verb("view", "labelfree.cli.view", "look at a run in a browser, search it by words and correct its labels"),
    Verb(
        "export",
        "labelfree.cli.export",
        "write a run's labels for other programs: COCO, CVAT, Label Studio, LAS, LAZ, PCD, PLY",
    ),
    Verb(
        "table",
        "labelfree.cli.table",
        "measure the paper's Table 1 or 2, initial weights (3) or consensus labels (4) over seeds; repeat to resume",
        True,
    ),
    Verb("figure", "labelfree.cli.figure", "draw the paper's qualitative figures of a finished run, 2D and 3D, as PNG"),
    Verb("publish", "labelfree.cli.publish", "upload a run's networks with a model card to the Hugging Face hub"),
    Verb(
        "lab",
        "labelfree_lab.commands.write",
        "write procedural scenes: rooms as captures or ScanNet, streets as nuScenes or nuImages",
    ),
    Verb("settings", "labelfree.cli.settings", "list every setting: default, the paper's value, allowed values"),
    Verb("info", "labelfree.cli.info", "print versions, device and number format, for bug reports"),
)

DESCRIPTION = (
    "Label-free 2D and 3D semantic segmentation (CNS, NeurIPS 2023): CLIP labels the images, a vote inside SAM's masks "
    "refines the labels, and a 2D and a 3D network are co-trained on them."
)


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors escape the control characters of what the user typed."""

    def error(self, message: str) -> NoReturn:
        """Print the usage and the error; exit with code 2."""
        super().error(printable(message))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code.

    Code 0 is success. Code 2 is bad input or an error of the system, with one sentence on standard error. A signal
    gives 128 plus its number: 130 for Ctrl-C, 143 for SIGTERM, 129 for SIGHUP, 141 for a closed output.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    tell_data_warnings()
    signals = Signals()
    with plain_output():
        try:
            with signals.caught():
                code = _carry_out(given)
                sys.stdout.flush()
                return code
        except SystemExit:  # argparse has printed its help or its error
            drain()
            raise
        except BaseException as error:  # a signal during an import may surface as any error
            return _failed(error, signals)


def _carry_out(given: Sequence[str]) -> int:
    verb = next((verb for verb in VERBS if given and verb.name == given[0]), None)
    if verb is None:
        _overview().parse_args(given or ["--help"])
        return 0
    options, overrides = _parse(verb, given[1:])
    _limit_threads(options.threads)
    run: Callable[[argparse.Namespace, Sequence[str]], int] = _module(verb).run
    return run(options, overrides)


def _module(verb: Verb) -> ModuleType:
    """Import the module of a verb."""
    package, _, name = verb.module.partition(".")
    return lab_module(name, f"'labelfree {verb.name}'") if package == LAB_PACKAGE else import_module(verb.module)


def _failed(error: BaseException, signals: Signals) -> int:
    """Print one sentence about the error and return the exit code; raise a defect of the program again."""
    if signals.received is not None or isinstance(error, KeyboardInterrupt):
        say(STOPPED)
        drain()
        return KILLED_BY + (signals.received or signal.SIGINT)
    if isinstance(error, ClosedOutput):  # the reader, such as `head`, has ended
        drop(sys.stdout)
        return KILLED_BY + signal.SIGPIPE
    told = sentence(error)
    if told is None:
        error.add_note(DEFECT)
        raise error
    say(told)
    drain()
    return BAD_INPUT


def _parse(verb: Verb, given: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
    epilog = OVERRIDES if verb.overrides else None
    parser = Parser(prog=f"labelfree {verb.name}", description=verb.help, epilog=epilog, allow_abbrev=False)
    parser.add_argument("--threads", type=int, default=None, help="number of CPU threads (default: all cores)")
    _module(verb).add_arguments(parser)
    options, rest = parser.parse_known_args(list(given))
    overrides = [text for text in rest if verb.overrides and text.startswith("--") and "=" in text]
    unknown = [text for text in rest if text not in overrides]
    if unknown:
        dotted = verb.overrides and unknown[0].startswith("--") and "." in unknown[0]
        parser.error(f"unknown argument {unknown[0]}" + (f"; write {unknown[0]}=VALUE" if dotted else ""))
    return options, overrides


def _overview() -> argparse.ArgumentParser:
    width = max(len(verb.name) for verb in VERBS)
    verbs = "\n".join(f"  {verb.name.ljust(width)}  {verb.help}" for verb in VERBS)
    parser = Parser(
        prog="labelfree",
        description=f"{DESCRIPTION}\n\nverbs:\n{verbs}\n\n'labelfree VERB --help' lists the options of a verb.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("verb", choices=[verb.name for verb in VERBS], metavar="VERB", help="the verb to run")
    return parser


def _limit_threads(threads: int | None) -> None:
    if threads is None:
        return
    if not 1 <= threads <= MAX_THREADS:
        raise InputError(f"--threads is {threads}: give a whole number from 1 to {MAX_THREADS}.")
    os.environ["OMP_NUM_THREADS"] = str(threads)
    import torch

    torch.set_num_threads(threads)
