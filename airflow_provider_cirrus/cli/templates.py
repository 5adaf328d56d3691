"""``templates``: check, lint and show what is defined in files, for people, CI and editors."""

from __future__ import annotations

import json
import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from airflow_provider_cirrus.api.errors import InvalidInput
from airflow_provider_cirrus.cli.output import write_line
from airflow_provider_cirrus.delivery.audience.fields import TEMPLATE_FIELDS, template_of
from airflow_provider_cirrus.templates import Definition, Templates, lint, read_definition, render
from airflow_provider_cirrus.templates.store import definitions_in, files_of, line_of, values_in


def run(options: Namespace) -> int:
    """Run an action; return the exit status."""
    return {"lint": _lint, "check": _check, "render": _render, "schema": _schema}[options.action](options)


def _lint(options: Namespace) -> int:
    errors = 0
    for path in _files(options.paths):
        try:
            values = values_in(path)
        except (InvalidInput, OSError) as error:
            errors += _say(path, error)
            continue
        for place, value in values:
            try:
                found = lint(read_definition(value))
            except InvalidInput as error:
                errors += 1
                _out(f"{path}:{line_of(path, place)}: error: {error.field} {error.problem} {error.hint}".rstrip())
                continue
            for one in found:
                errors += one.is_error
                kind = "error" if one.is_error else "remark"
                _out(f"{path}:{line_of(path, (*place, *one.path))}: {kind}: {one.place} {one.text}")
    return 1 if errors else 0


def _check(options: Namespace) -> int:
    errors = 0
    seen: dict[tuple[str, str], Path] = {}
    try:
        files = files_of(options.templates)
    except InvalidInput as error:
        return _say(Path(options.templates), error)
    for path in files:
        try:
            for one in definitions_in(path):
                name = (one.name, one.language)
                if (before := seen.setdefault(name, path)) != path:
                    errors += 1
                    _out(f"{path}:1: error: {one.name!r} ({one.language}) is defined in {before}, too.")
        except InvalidInput as error:
            errors += _say(path, error)
    templates = Templates(options.templates, required=True)
    for name in options.messages:
        errors += _check_messages(Path(name), templates)
    return 1 if errors else 0


def _check_messages(path: Path, templates: Templates) -> int:
    try:
        values = values_in(path)
    except (InvalidInput, OSError) as error:
        return _say(path, error)
    errors = 0
    for place, value in values:
        try:
            if not isinstance(value, dict):
                raise InvalidInput("message", f"is of type {type(value).__name__}, not an object.")
            template_of({name: value[name] for name in TEMPLATE_FIELDS if name in value}, templates)
        except InvalidInput as error:
            errors += 1
            _out(f"{path}:{line_of(path, place)}: error: {error}")
    return errors


def _render(options: Namespace) -> int:
    text = sys.stdin.read() if options.parameters == "-" else options.parameters
    try:
        parameters = json.loads(text)
        if not isinstance(parameters, dict):
            raise InvalidInput("--parameters", "is no JSON object.")
        templates = Templates(options.templates, required=True)
        fields = {**parameters, "template": options.template, "language": options.language}
        template = template_of(fields, templates)
        definition = templates.find(template.name, template.language)
        assert definition is not None
    except InvalidInput as error:
        write_line(str(error), sys.stderr)
        return 1
    except ValueError:
        write_line('--parameters: is no JSON; give such as {"body": ["Ann"]}.', sys.stderr)
        return 1
    _out(render(definition, template.wire_components()).text(colours=sys.stdout is not None and sys.stdout.isatty()))
    return 0


def _schema(options: Namespace) -> int:
    schema: dict[str, Any] = Definition.model_json_schema()
    _out(json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}, indent=2))
    return 0


def _files(paths: list[str]) -> Iterator[Path]:
    for name in paths:
        path = Path(name)
        if not path.is_dir():
            yield path
            continue
        yield from files_of(name)


def _say(path: Path, error: Exception) -> int:
    """Print why a file cannot be read; return 1, the number of errors."""
    text = str(error) if isinstance(error, InvalidInput) else f"{path}: {error}"
    _out(text.removeprefix("templates_path: "))
    return 1


def _out(text: str) -> None:
    write_line(text, sys.stdout)
