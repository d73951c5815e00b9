"""How people name a model: `churn`, `churn@champion`, `churn@3`, `models:/churn/3`, `models:/churn@champion`."""

import re
from dataclasses import dataclass

from errors import ReferenceInvalidError

DEFAULT_ALIAS = "champion"

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9])?")
_VERSION = re.compile(r"[1-9][0-9]{0,8}")


def check_name(name: str, what: str = "model name") -> str:
    """Return `name` if it can name a model or an alias, also as a folder or a URL part; ReferenceInvalidError."""
    if not _NAME.fullmatch(name) or ".." in name:
        raise ReferenceInvalidError(
            f"{name!r} is no {what}: use up to 64 letters, digits, '.', '_' and '-', beginning and ending with a "
            "letter or digit"
        )
    return name


def check_alias(alias: str) -> str:
    """Return `alias` if it can name an alias; ReferenceInvalidError also for a number, which means a version."""
    if alias.isdigit():
        raise ReferenceInvalidError(f"{alias!r} cannot be an alias: a number after @ means a version")
    return check_name(alias, "alias")


@dataclass(frozen=True, slots=True)
class ModelReference:
    """A model by name, and by version or alias; with neither, its champion or newest version."""

    name: str
    alias: str | None = None
    version: int | None = None

    def __str__(self) -> str:
        suffix = self.alias or self.version
        return self.name if suffix is None else f"{self.name}@{suffix}"

    @classmethod
    def parse(cls, text: str) -> "ModelReference":
        """Read any of the five forms; ReferenceInvalidError says what is wrong with the rest."""
        rest = text.removeprefix("models:/")
        name, at, suffix = rest.partition("@")
        if not at and rest != text:
            name, at, suffix = rest.partition("/")
        check_name(name)
        if not at:
            return cls(name)
        if _VERSION.fullmatch(suffix):
            return cls(name, version=int(suffix))
        if suffix.isdigit():
            raise ReferenceInvalidError(f"{suffix!r} in {text!r} is no version: versions count from 1")
        return cls(name, alias=check_alias(suffix))
