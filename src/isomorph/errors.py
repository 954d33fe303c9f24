"""Everything that isomorph raises on purpose.

IsomorphError
├── Refusal            this scan is not acceptable; the others go on          exit code 4 (5 if all)
├── UsageError         the command or the configuration is wrong              exit code 2
├── NothingFound       no input was found                                     exit code 3
└── SetupError         not writable, disk full, weights, device               exit code 6

Each message is one line: what was given, what was expected, what to do.
"""

from __future__ import annotations

import unicodedata
from importlib.util import find_spec

MODULES = {"antspyx": "ants"}  # of packages whose module has another name
UNSAFE = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # Unicode categories: control, bidi, surrogates, line separators


class IsomorphError(Exception):
    """Base of all errors raised on purpose."""

    exit_code = 1


class Refusal(IsomorphError):
    """A scan that would give a wrong or meaningless result.

    Parameters
    ----------
    code : str
        ``E###``, as listed in ``docs/codes.md``.
    reason : str
        What was found, and what was expected.
    remedy : str
        What the user can do about it.
    """

    exit_code = 4

    def __init__(self, code: str, reason: str, remedy: str) -> None:
        super().__init__(f"{code} {reason}; {remedy}")
        self.code, self.reason, self.remedy = code, reason, remedy


class UsageError(IsomorphError):
    """The command or the configuration is wrong."""

    exit_code = 2


class NothingFound(IsomorphError):
    """No input was found."""

    exit_code = 3


class SetupError(IsomorphError):
    """The machine cannot do it: folder not writable, disk full, weights missing or damaged, no such device."""

    exit_code = 6


def require_packages(purpose: str, extra: str, *packages: str) -> None:
    """Find out that packages are missing before the work that needs them; their import, which takes seconds, can wait.

    Raises
    ------
    SetupError
        E905 which.
    """
    if missing := [package for package in packages if find_spec(MODULES.get(package, package)) is None]:
        raise not_installed(purpose, ", ".join(missing), extra)


def not_installed(purpose: str, package: str, extra: str) -> SetupError:
    """E905: what an extra would have installed. Of a clone, since the package is not on PyPI, where anybody may take
    its name."""
    return SetupError(f"E905 {purpose} needs {package}; {from_clone(extra)}")


def from_clone(extra: str) -> str:
    """How to install an extra."""
    return f"in the clone of isomorph, type: pip install '.[{extra}]'"


def escape(text: object) -> str:
    """A name or message that is safe in one line of a log: control, ANSI and bidi characters are written out."""
    return "".join(c.encode("unicode_escape").decode() if unicodedata.category(c) in UNSAFE else c for c in str(text))
