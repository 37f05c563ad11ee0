"""What may be seen of a value that is kept elsewhere: chosen members, with secrets masked."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeAlias

import msgspec

from durably.limits import as_count
from durably.serdes_json import class_of

Path: TypeAlias = tuple[str, ...]


class PreviewMode(StrEnum):
    """Which members can be seen when no rule names them."""

    INCLUDE_ALL = "INCLUDE_ALL"
    EXCLUDE_ALL = "EXCLUDE_ALL"


class FieldMatchMode(StrEnum):
    """Whether a rule means every member of its name, or the one at its place.

    A place is written `order.card.number`. A member whose own name contains a dot cannot be told
    from such a place, so none is shown where a rule of this kind exists.
    """

    ANYWHERE = "ANYWHERE"
    PATH = "PATH"


@dataclass(frozen=True, slots=True)
class PreviewField:
    """Which members a rule is about."""

    name: str
    match: FieldMatchMode = FieldMatchMode.ANYWHERE


@dataclass(frozen=True, slots=True, kw_only=True)
class PreviewConfig:
    """What a preview shows. Excluding wins over including, and masking makes visible.

    Attributes:
        mode: what is shown of the members that no rule names.
        include: shown, with all that is in them.
        exclude: never shown.
        mask: shown as `mask_string`.
        max_preview_bytes: how long the preview may be as JSON. Members are added until it is.
    """

    mode: PreviewMode
    include: tuple[PreviewField, ...] = ()
    exclude: tuple[PreviewField, ...] = ()
    mask: tuple[PreviewField, ...] = ()
    mask_string: str = "***"
    max_preview_bytes: int = 4096

    def __post_init__(self) -> None:
        as_count(self.max_preview_bytes, "max_preview_bytes", minimum=2)


def build_preview(value: Any, config: PreviewConfig) -> dict[str, Any] | None:
    """Show what *config* allows of *value*, plain JSON; `None` when that is nothing.

    The objects of a list are shown as one, with the first value of each member.
    """
    shown = _Painter(config).show(value, (), is_visible=config.mode is PreviewMode.INCLUDE_ALL)
    return shown if shown and class_of(shown) is dict else None


class _Painter:
    """Walks a value and keeps count of what the preview may still take."""

    def __init__(self, config: PreviewConfig) -> None:
        self._config = config
        self._left = config.max_preview_bytes - len("{}")
        rules = (*config.include, *config.exclude, *config.mask)
        self._has_paths = any(rule.match is FieldMatchMode.PATH for rule in rules)

    def show(self, value: Any, path: Path, *, is_visible: bool) -> Any:
        """Give what is shown of *value*; `None` when that is nothing."""
        if class_of(value) is dict:
            return self._show_members(value, path, {}, is_visible=is_visible)
        if class_of(value) is not list:
            return value if is_visible and self._affords(value) else None
        merged: dict[str, Any] = {}
        for item in value:
            if class_of(item) is dict:
                self._show_members(item, path, merged, is_visible=is_visible)
        if merged:
            return merged
        plain = [item for item in value if class_of(item) not in {dict, list}]
        return plain if plain and is_visible and self._affords(plain) else None

    def _show_members(
        self, members: dict[str, Any], path: Path, shown: dict[str, Any], *, is_visible: bool
    ) -> dict[str, Any]:
        for name, member in members.items():
            place = (*path, name)
            if name in shown or self._is_hidden(name, place):
                continue
            view = self._view(member, place, is_visible=is_visible)
            if view is not None and view != {} and self._affords(name, ":,{}"):
                shown[name] = view
        return shown

    def _view(self, member: Any, place: Path, *, is_visible: bool) -> Any:
        if _matches(self._config.mask, place):
            mask = self._config.mask_string
            return mask if self._affords(mask) else None
        is_included = is_visible or _matches(self._config.include, place)
        return self.show(member, place, is_visible=is_included)

    def _is_hidden(self, name: str, place: Path) -> bool:
        return (self._has_paths and "." in name) or _matches(self._config.exclude, place)

    def _affords(self, value: Any, punctuation: str = "") -> bool:
        """Take the length of *value* off what is left; without enough, nothing more is shown."""
        self._left -= len(msgspec.json.encode(value)) + len(punctuation)
        return self._left >= 0


def _matches(rules: tuple[PreviewField, ...], place: Path) -> bool:
    return any(
        rule.name == (place[-1] if rule.match is FieldMatchMode.ANYWHERE else ".".join(place))
        for rule in rules
    )
