"""Writes the reference, `docs/reference/*.md`, from the docstrings and the command line's help.

`python -m docs.build` writes the pages; `write_pages` is what the tests compare them with. The
sources are read, not run, so signatures and defaults stand as they were written.
"""

from __future__ import annotations

import inspect
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import griffe

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs" / "reference"
NOTE = "<!-- Made by `make docs` from the docstrings. Change those, not this page. -->\n"

Node = griffe.Object


@dataclass(frozen=True)
class Page:
    """A page of the reference: what it is called, and the modules whose public names it shows."""

    title: str
    modules: tuple[str, ...]


PAGES: Mapping[str, Page] = {
    "context": Page("The context", ("context", "sync_context", "core.operations")),
    "futures": Page("Futures and callbacks", ("drivers.futures", "drivers.callbacks")),
    "handler": Page("Durable functions", ("handler",)),
    "engine": Page("The engine", ("app", "engine", "wire.execution", "wire.history")),
    "inside": Page(
        "Inside a step",
        ("core.active", "step_connections", "core.scope", "core.ids", "drivers.logs"),
    ),
    "configuration": Page("Configuration", ("config", "completion", "limits")),
    "results": Page("What a batch gives", ("batch_result",)),
    "retries": Page("Retry and wait strategies", ("retries",)),
    "serdes": Page("How values are written", ("serdes*", "plugins.offload", "plugins.preview")),
    "plugins": Page("Plugins", ("core.observer",)),
    "testing": Page("The test kit", ("testing",)),
    "clients": Page("Clients", ("drivers.client", "clients", "clock", "seams", "wire.api")),
    "protocol": Page("The protocol's values", ("wire",)),
    "errors": Page("Errors", ("errors", "operation_errors", "service_errors")),
}
TWINS = {"SyncDurableContext": "DurableContext"}
"""Classes that say the same in another way: only their signatures are shown."""


def main() -> None:
    """Write every page, and remove those that are no more."""
    REFERENCE.mkdir(exist_ok=True)
    made = write_pages()
    for old in set(REFERENCE.glob("*.md")) - {REFERENCE / name for name in made}:
        old.unlink()
    for name, text in made.items():
        (REFERENCE / name).write_text(text)
    print(f"docs: {len(made)} pages in {REFERENCE.relative_to(ROOT)}")


def write_pages() -> dict[str, str]:
    """Give the text of every page by its file's name."""
    logging.getLogger("griffe").setLevel(logging.ERROR)
    package = griffe.load(
        "durably",
        search_paths=[ROOT / "src"],
        docstring_parser="google",
        docstring_options={"warnings": False},
        resolve_aliases=True,
    )
    shown: dict[str, list[tuple[str, Node]]] = {page: [] for page in PAGES}
    for module in (package, package["testing"]):
        for name in sorted(module.exports or (), key=str):
            node = _resolved(module[str(name)])
            shown[page_of(node)].append((str(name), node))
    pages = {f"{page}.md": "\n".join(_page(page, names)) for page, names in shown.items() if names}
    pages["command-line.md"] = "\n".join(_command_line())
    pages["README.md"] = "\n".join(_index(shown))
    return {name: f"{text.rstrip()}\n" for name, text in pages.items()}


def _resolved(node: Node | griffe.Alias) -> Node:
    return node.final_target if isinstance(node, griffe.Alias) else node


def page_of(node: Node) -> str:
    """Say which page shows *node*: the one that names the longest part of its module's name.

    Raises:
        LookupError: none does.
    """
    module = node.canonical_path.removeprefix("durably.").rpartition(".")[0]
    fitting = {
        pattern: page
        for page, spec in PAGES.items()
        for pattern in spec.modules
        if _is_in(module, pattern)
    }
    if not fitting:
        raise LookupError(f"docs/build.py has no page for durably.{module}: add it to PAGES")
    return fitting[max(fitting, key=len)]


def _is_in(module: str, pattern: str) -> bool:
    if pattern.endswith("*"):
        return module.startswith(pattern[:-1])
    return module == pattern or module.startswith(f"{pattern}.")


# Pages


def _index(shown: Mapping[str, list[tuple[str, Node]]]) -> Iterator[str]:
    yield f"# Reference\n\n{NOTE}"
    yield "Every public name of `durably` and of `durably.testing`, and [the command"
    yield "line](command-line.md).\n"
    for page, names in shown.items():
        if names:
            yield f"## [{PAGES[page].title}]({page}.md)\n"
            yield "| name | |\n|---|---|"
            for name, node in names:
                yield f"| [`{name}`]({page}.md#{name.lower()}) | {_cell(_first_line(node))} |"
            yield ""


def _page(page: str, names: list[tuple[str, Node]]) -> Iterator[str]:
    yield f"# {PAGES[page].title}\n\n{NOTE}"
    if page == "errors":
        module = names[0][1].package["errors"]
        tree = module.docstring.value if module.docstring else ""
        yield f"```text\n{tree.partition(chr(10) * 2)[2].rstrip()}\n```\n"
    for name, node in names:
        yield f"## {name}\n"
        yield from _render(name, node)


def _render(name: str, node: Node) -> Iterator[str]:
    match node:
        case griffe.Class():
            yield from _class(name, node)
        case griffe.Function():
            yield _code(_signature(name, node))
            yield from _docstring(node)
        case griffe.Attribute():
            yield _code(f"{name} = {node.value}")
            yield from _docstring(node)
        case _:
            raise LookupError(f"{node.path} is neither a class nor a function nor a value")


def _class(name: str, node: griffe.Class) -> Iterator[str]:
    public = {str(one) for one in node.package.exports or ()}
    base = next((one.name for one in node.mro() if one.name in public), None)
    maker = node.members.get("__init__") or _maker_of_struct(node)
    is_data = "dataclass" in node.labels or any(_is_of_values(base) for base in node.bases)
    if isinstance(maker, griffe.Function) and (is_data or _is_made_by_users(node, maker)):
        yield _code(_signature(name, maker, skip_self=True))
    if base is not None:
        yield f"Derives from `{base}`.\n"
    if name in TWINS:
        yield f"See [`{TWINS[name]}`](#{TWINS[name].lower()}), of which it is the twin.\n"
    yield from _docstring(node, leave_out=("attributes",) if is_data else ())
    if is_data:
        yield from _fields(node)
    for member, inner in node.members.items():
        is_method = isinstance(inner, griffe.Function)
        is_property = isinstance(inner, griffe.Attribute) and "property" in inner.labels
        if not member.startswith("_") and (is_method or is_property):
            yield from _method(name, member, _resolved(inner))


def _maker_of_struct(node: griffe.Class) -> griffe.Function | None:
    """Give the `__init__` that a plain struct gets from its fields."""
    if not any(str(base).rpartition(".")[2] == "Struct" for base in node.bases):
        return None
    head = "".join(node.lines).partition(":")[0]
    plain, named = griffe.ParameterKind.positional_or_keyword, griffe.ParameterKind.keyword_only
    kind = named if "kw_only=True" in head else plain
    fields = [
        griffe.Parameter(name, annotation=one.annotation, kind=kind, default=one.value)
        for name, one in node.members.items()
        if isinstance(one, griffe.Attribute) and _is_field(name, one)
    ]
    return griffe.Function("__init__", parameters=griffe.Parameters(*fields), parent=node)


def _is_of_values(base: object) -> bool:
    """Whether a class derived from *base* declares what its instances, or its members, are."""
    return str(base).rpartition(".")[2] in {"Enum", "StrEnum", "Struct", "WireStruct"}


def _is_made_by_users(node: Node, maker: griffe.Function) -> bool:
    kinds = {section.kind for section in _sections(node)}
    return maker.has_docstring or griffe.DocstringSectionKind.parameters in kinds


def _method(owner: str, name: str, node: Node) -> Iterator[str]:
    yield f"### {owner}.{name}\n"
    if isinstance(node, griffe.Function):
        yield _code(_signature(name, node, skip_self=True))
    elif isinstance(node, griffe.Attribute):
        yield _code(f"{name}: {node.annotation}")
    if owner not in TWINS:
        yield from _docstring(node)


def _fields(node: griffe.Class) -> Iterator[str]:
    """Make a table of what instances have: declared fields, each with what is said of it."""
    said = {
        item.name: item.description
        for one in (*reversed(node.mro()), node)
        for section in _sections(one)
        if section.kind is griffe.DocstringSectionKind.attributes
        for item in section.value
    }
    fields = {
        name: inner
        for name, inner in ((name, _resolved(one)) for name, one in node.all_members.items())
        if isinstance(inner, griffe.Attribute) and _is_field(name, inner)
    }
    rows = [
        (name, _type_of(fields.get(name)), said.get(name) or _own_words(fields.get(name)))
        for name in {**fields, **said}
    ]
    if rows:
        yield "| | | |\n|---|---|---|"
        for name, kind, words in rows:
            yield f"| `{name}` | {kind} | {_cell(words)} |"
        yield ""


def _is_field(name: str, node: griffe.Attribute) -> bool:
    return not name.startswith("_") and "property" not in node.labels


def _type_of(node: griffe.Attribute | None) -> str:
    if node is None:
        return ""
    if node.annotation is not None:
        return _cell(f"`{node.annotation}`")
    return _cell(f"`{node.value}`") if node.value is not None else ""


def _own_words(node: Node | None) -> str:
    return node.docstring.value if node is not None and node.docstring is not None else ""


# Docstrings and signatures


def _docstring(node: Node, leave_out: tuple[str, ...] = ()) -> Iterator[str]:
    for section in _sections(node):
        if section.kind.value in leave_out:
            continue
        match section.kind:
            case griffe.DocstringSectionKind.text:
                yield f"{section.value}\n"
            case griffe.DocstringSectionKind.parameters | griffe.DocstringSectionKind.attributes:
                yield "".join(f"- `{one.name}`: {_flat(one)}\n" for one in section.value)
            case griffe.DocstringSectionKind.raises:
                yield "Raises:\n"
                yield "".join(f"- `{one.annotation}`: {_flat(one)}\n" for one in section.value)
            case _:
                raise LookupError(f"{node.path}: a section {section.kind.value} is not expected")


def _sections(node: Node) -> Iterable[Any]:
    return node.docstring.parsed if node.docstring is not None else ()


def _first_line(node: Node) -> str:
    return node.docstring.value.splitlines()[0] if node.docstring is not None else ""


def _flat(item: Any) -> str:
    return " ".join(item.description.split())


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _code(text: str) -> str:
    return f"```py\n{text}\n```\n"


def _signature(name: str, node: griffe.Function, *, skip_self: bool = False) -> str:
    parameters = list(node.parameters)
    if skip_self and parameters and parameters[0].name in {"self", "cls"}:
        parameters = parameters[1:]
    parts = list(_parameters(parameters))
    end = "" if node.returns is None or name[0].isupper() else f" -> {node.returns}"
    line = f"{name}({', '.join(parts)}){end}"
    is_coroutine = "async" in node.labels
    prefix = "await " if is_coroutine else ""
    if len(line) <= 88:  # noqa: PLR2004 - what is easy to read in a page
        return f"{prefix}{line}"
    inner = "".join(f"    {part},\n" for part in parts)
    return f"{prefix}{name}(\n{inner}){end}"


def _parameters(parameters: list[griffe.Parameter]) -> Iterator[str]:
    has_star = False
    for one in parameters:
        kind = one.kind
        if kind is griffe.ParameterKind.keyword_only and not has_star:
            has_star = True
            yield "*"
        star = "" if kind is None else _STARS.get(kind, "")
        has_star = has_star or star == "*"
        annotation = f": {one.annotation}" if one.annotation is not None else ""
        default = f" = {_default(one)}" if one.default is not None and not star else ""
        yield f"{star}{one.name}{annotation}{default}"


def _default(parameter: griffe.Parameter) -> str:
    """Give the default as a person would write it: constants of the module by their values."""
    written = str(parameter.default)
    module = parameter.function.module if parameter.function is not None else None
    if module is None or not _CONSTANT.fullmatch(written) or written not in module.members:
        return written
    constant = _resolved(module.members[written])
    value = str(constant.value) if isinstance(constant, griffe.Attribute) else written
    return "..." if value == "object()" else value


_CONSTANT = re.compile(r"_?[A-Z][A-Z_]+")
_STARS = {
    griffe.ParameterKind.var_positional: "*",
    griffe.ParameterKind.var_keyword: "**",
}


# The command line


def _command_line() -> Iterator[str]:
    from durably.cli.main import cli  # noqa: PLC0415 - only here is the package run

    yield f"# The command line\n\n{NOTE}"
    for path, command in commands(cli):
        yield f"## {path}\n"
        context = click.Context(command, info_name=path)
        usage = " ".join([path, *command.collect_usage_pieces(context)])
        yield f"```text\n{usage}\n```\n"
        yield f"{_help(command)}\n"
        options = [one for one in command.params if isinstance(one, click.Option)]
        if options:
            yield "| option | |\n|---|---|"
            for option in options:
                names, words = option.get_help_record(context) or ("", "")
                yield f"| `{names}` | {_cell(words)} |"
            yield ""


def commands(group: click.Command, path: str = "durably") -> Iterator[tuple[str, click.Command]]:
    """Give every command below *group*, and how it is called."""
    inner: Mapping[str, click.Command] = getattr(group, "commands", {})
    if not inner:
        yield path, group
    for name, command in sorted(inner.items()):
        yield from commands(command, f"{path} {name}")


def _help(command: click.Command) -> str:
    return inspect.cleandoc(command.help or "").replace("\b\n", "")


if __name__ == "__main__":
    main()
