"""A folder of definitions: found by name and language, read once as long as a file does not change."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.api.models import Message, Template
from airflow_provider_cirrus.api.text import BODY_LIMIT, closest
from airflow_provider_cirrus.templates.check import check
from airflow_provider_cirrus.templates.definitions import (
    Category,
    Definition,
    placeholders,
    read_definition,
    static_text,
)
from airflow_provider_cirrus.templates.render import render

#: What the names of files of definitions end in.
ENDINGS = (".json", ".yaml", ".yml")
# Bytes: the largest template has a few thousand.
_LARGEST = 1024 * 1024
# A name that may be part of a file's name as it is.
_PLAIN = re.compile(r"[\w-][\w .-]*")

_read: dict[str, tuple[tuple[int, int], list[Definition]]] = {}


@dataclass(frozen=True)
class Templates:
    """
    The definitions of a folder and of the folders in it.

    A file holds one definition, a list of them, or what Meta's API lists (``{"data": [...]}``). One that is called
    ``<name>.<language>.json`` or ``<name>/<language>.json`` (or ``.yaml``) is found without reading the others.

    :ivar folder: where they are
    :ivar required: whether a template without a definition is an error
    :ivar languages: in which to look, in this order, where a message's own language has no definition
    """

    folder: str
    required: bool = False
    languages: tuple[str, ...] = ()
    # Looked up once in a send: a row may name its template and its language.
    _found: dict[tuple[str, str], Definition | None] = field(default_factory=dict, repr=False, compare=False)

    def find(self, name: str, language: str) -> Definition | None:
        """
        Return the definition of a template in a language.

        :raises InvalidInput: its file cannot be read, or there are two
        """
        key = (name, language)
        if key not in self._found:
            self._found[key] = self._look_for(name, language)
        return self._found[key]

    def _look_for(self, name: str, language: str) -> Definition | None:
        for path in self._usual_paths(name, language):
            for one in definitions_in(path):
                if (one.name, one.language) == (name, language):
                    return one
        found = [one for one in self._all if (one.name, one.language) == (name, language)]
        if len(found) > 1:
            raise InvalidInput("templates_path", f"holds {name!r} ({language}) {len(found)} times: {self.folder}.")
        return found[0] if found else None

    def languages_of(self, name: str) -> list[str]:
        """Return the languages in which a template is defined."""
        return sorted({one.language for one in self._all if one.name == name})

    def first(self, name: str, language: str | None) -> Definition | None:
        """
        Return a definition of a template, for what is the same in all of its languages: its category.

        :param language: in which to look first; then come :attr:`languages`, then all others
        """
        for one in (language, *self.languages):
            if one and (definition := self.find(name, one)) is not None:
                return definition
        # Only now, as it reads every file.
        return next((one for one in self._all if one.name == name), None)

    def choose(self, name: str, wanted: str | None) -> str:
        """
        Return the language to send a template in: the wanted one, else the first of :attr:`languages` that is defined.

        :raises InvalidInput: neither is, and there are definitions of it in others
        """
        order = [one for one in (wanted, *self.languages) if one]
        for language in order:
            if self.find(name, language) is not None:
                return language
        defined = self.languages_of(name)
        if not defined and not self.required and order:
            return order[0]
        raise InvalidInput(
            "language", f"{name!r} is not defined in {' or '.join(order) or 'any language'}.", hint=self._known(name)
        )

    def check(self, template: Template) -> None:
        """
        Check what a message fills in.

        :raises InvalidInput: it does not fit its definition; or has none, and needs one
        """
        definition = self.find(template.name, template.language)
        if definition is None:
            if self.required:
                raise InvalidInput(
                    "template",
                    f"{template.name!r} ({template.language}) has no definition in {self.folder}.",
                    hint=self._known(template.name),
                )
            return
        if found := check(definition, template):
            first = found[0]
            also = "".join(f"\nAlso {one.field}: {one.problem} {one.hint}".rstrip() for one in found[1:3])
            raise InvalidInput(first.field, first.problem + also, hint=first.hint)

    def preview(self, message: Message) -> str:
        """Return what the recipient of a message sees, with WhatsApp's marks; nothing where it is not defined."""
        template = message.template
        definition = self.find(template.name, template.language)
        return "" if definition is None else render(definition, template.wire_components()).text()

    def budget(self, template: Template) -> int | None:
        """
        Return how many characters the parameters of a body may come to, where it is all that is left to check.

        :param template: filled in, and checked: another that differs in the texts of its body alone need not be
        :return: None where a sum does not say it, as a placeholder stands there more than once
        """
        definition = self.find(template.name, template.language)
        body = None if definition is None else definition.parts.body
        if definition is None or definition.category is Category.AUTHENTICATION:
            return None if definition is not None else BODY_LIMIT
        names = placeholders("" if body is None else body.text)
        if len(set(names)) < len(names):
            return None
        return BODY_LIMIT - len(static_text("" if body is None else body.text))

    def _known(self, name: str) -> str:
        if defined := self.languages_of(name):
            return f"It is defined in {', '.join(defined)}."
        meant = closest(name, {one.name for one in self._all})
        return f"Did you mean {meant!r}?" if meant else "Put its definition there, in Meta's JSON."

    def _usual_paths(self, name: str, language: str) -> Iterator[Path]:
        if not _PLAIN.fullmatch(name) or not _PLAIN.fullmatch(language):
            return
        folder = Path(self.folder)
        for ending in ENDINGS:
            for path in (folder / f"{name}.{language}{ending}", folder / name / f"{language}{ending}"):
                if path.is_file():
                    yield path

    @property
    def _all(self) -> list[Definition]:
        return [one for path in files_of(self.folder) for one in definitions_in(path)]


def files_of(folder: str) -> list[Path]:
    """
    Return the files of definitions in a folder, sorted.

    :raises InvalidInput: there is no such folder
    """
    root = Path(folder)
    if not root.is_dir():
        raise InvalidInput("templates_path", f"is no folder: {folder}.")
    return sorted(path for path in root.rglob("*") if path.suffix in ENDINGS and path.is_file())


def definitions_in(path: Path) -> list[Definition]:
    """
    Return the definitions of a file; read anew where it has changed.

    :raises InvalidInput: names the file and what is wrong
    """
    try:
        stat = path.stat()
        stamp = (stat.st_mtime_ns, stat.st_size)
        key = os.fspath(path)
        if (known := _read.get(key)) is not None and known[0] == stamp:
            return known[1]
        found = [_definition(path, place, one) for place, one in values_in(path)]
    except OSError as error:
        raise InvalidInput("templates_path", f"{path} cannot be read: {error.strerror or error}.") from error
    _read[key] = (stamp, found)
    return found


def values_in(path: Path) -> list[tuple[tuple[str | int, ...], Any]]:
    """
    Return what a file holds as definitions, each with its place in the file; nothing of it is checked yet.

    :raises InvalidInput: it is no JSON, or no YAML
    :raises OSError: it cannot be read
    """
    value = _loaded(path)
    if isinstance(value, Mapping) and isinstance(value.get("data"), list) and "components" not in value:
        return [(("data", place), one) for place, one in enumerate(value["data"])]
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [((place,), one) for place, one in enumerate(value)]
    return [((), value)]


def _loaded(path: Path) -> Any:
    if path.stat().st_size > _LARGEST:
        raise InvalidInput("templates_path", f"{path} is larger than {_LARGEST // 1024} KB: no template is.")
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise InvalidInput("templates_path", f"{path} is not UTF-8.") from None
    if path.suffix != ".json":
        return _of_yaml(path, text)
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InvalidInput("templates_path", f"{path}:{error.lineno}: is no JSON: {error.msg}.") from None
    except RecursionError:
        raise InvalidInput("templates_path", f"{path} is nested too deep.") from None


def _of_yaml(path: Path, text: str) -> Any:
    # Late, as most keep JSON.
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise InvalidInput("templates_path", f"{path}:{line}: is no YAML: {error.problem}.") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InvalidInput("templates_path", f"{path} is no YAML: {type(error).__name__}.") from None


def _definition(path: Path, place: tuple[str | int, ...], value: Any) -> Definition:
    try:
        return read_definition(value)
    except InvalidInput as error:
        where = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place).lstrip(".")
        field = ".".join(part for part in (where, error.field) if part)
        raise InvalidInput("templates_path", f"{path}: {field} {error.problem}", hint=error.hint) from None


def line_of(path: Path, place: Sequence[str | int]) -> int:
    """
    Return the line of a place in a file of definitions, from 1; of what is not there, that of what holds it.

    :param place: keys and indexes from the top of the file
    """
    import yaml

    try:
        # JSON is YAML, all but.
        node: Any = yaml.compose(path.read_text("utf-8-sig"), Loader=yaml.SafeLoader)
    except (yaml.YAMLError, ValueError, OSError):
        return 1
    line = 1
    for step in place:
        inner = None
        if isinstance(node, yaml.MappingNode):
            inner = next(((key, value) for key, value in node.value if key.value == step), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            inner = (node.value[step], node.value[step])
        if inner is None:
            break
        line, node = inner[0].start_mark.line + 1, inner[1]
    return line
