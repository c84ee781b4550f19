"""What a command was called with, fit to be shown: no passwords, and nothing that a file or a terminal cannot hold."""

from __future__ import annotations

import re
import shlex
import sys
import urllib.parse

__all__ = ["command_line", "hide_passwords", "hide_url", "spell_bytes"]

HIDDEN = "***"  # as SQLAlchemy writes it
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_WORD = re.compile(_URL.pattern + r"[^\s'\"<>]*")
_SECRET_NAME = re.compile(r"pass|pwd|secret|token|key|credential", re.IGNORECASE)


def hide_url(url: str) -> str:
    """Return a URL, or a word that ends in one, with its password hidden, and with each value of its query whose name says that it is secret."""
    return _split(url)[0]


def hide_passwords(text: str) -> str:
    """Return a text with the passwords of URLs hidden: of those in it, and wherever one of the command line's stands alone."""
    for word in sys.argv[1:]:
        shown, secrets = _split(word)
        if secrets:
            text = text.replace(word, shown)
        for secret in sorted(secrets, key=len, reverse=True):
            text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", HIDDEN, text)

    return _WORD.sub(lambda found: hide_url(found[0]), text)


def command_line() -> str:
    """Return the command that this process was called with, as a reader may see it and a shell takes it."""
    return spell_bytes(shlex.join(["bench", *map(hide_url, sys.argv[1:])]))


def spell_bytes(text: str) -> str:
    """Spell out the bytes of a file's name that are no UTF-8 (``\\xff``), which no file of text and no terminal takes."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _split(word: str) -> tuple[str, set[str]]:
    """Return a word with its secrets hidden, and these, as they stand there and decoded."""
    scheme = _URL.search(word)
    if scheme is None:
        return word, set()
    secrets = set()
    rest = word[scheme.end() :]
    address, mark, query = rest.partition("?")
    if "@" in query and not re.match(r"[\w.-]+=", query):  # the question mark is the password's
        address, mark, query = rest, "", ""
    if not address.startswith("/"):  # a path of SQLite
        user, at, host = address.rpartition("@")
        name, colon, password = user.partition(":")
        if colon:
            secrets.add(password)
            user = f"{name}:{HIDDEN}"
        # What stands for a port and is no number may be a password whose host was forgotten.
        wrong = re.fullmatch(r"(\[[^]]*\]|[^:/[]*):(?!\d*(?:/|$))([^/]*)(.*)", host, re.DOTALL)
        if wrong is not None:
            secrets.add(wrong[2])
            host = f"{wrong[1]}:{HIDDEN}{wrong[3]}"
        address = f"{user}{at}{host}"
    pairs = []
    for pair in re.split("([&;])", query):
        key, equals, value = pair.partition("=")
        if value and _SECRET_NAME.search(key):
            secrets.add(value)
            pair = f"{key}{equals}{HIDDEN}"
        pairs.append(pair)
    secrets |= {urllib.parse.unquote(secret) for secret in secrets} | {urllib.parse.unquote_plus(secret) for secret in secrets}

    return f"{word[: scheme.end()]}{address}{mark}{''.join(pairs)}", secrets - {"", HIDDEN}
