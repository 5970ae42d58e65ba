"""From method and path to route; a path template has one parameter per segment at most. Pure."""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar
from urllib.parse import unquote_to_bytes

from madang.core.errors import MadangError
from madang.edge.errors import ApiError

Target = TypeVar("Target")


class RouteError(MadangError):
    """The table of routes contradicts itself."""


class Match(NamedTuple, Generic[Target]):
    """Targets by method, and the parameters of the path."""

    methods: dict[str, Target]
    parameters: dict[str, str]


class _Node(Generic[Target]):
    __slots__ = ("children", "methods", "names", "wild")

    def __init__(self) -> None:
        self.children: dict[str, _Node[Target]] = {}
        self.wild: _Node[Target] | None = None
        self.methods: dict[str, Target] = {}
        self.names: tuple[str, ...] = ()


class Router(Generic[Target]):
    """A tree of path segments; a literal segment wins over a parameter."""

    def __init__(self) -> None:
        self._root: _Node[Target] = _Node()
        self._fixed: dict[str, Match[Target]] = {}

    def add(self, method: str, template: str, target: Target) -> None:
        """Add a route; raises RouteError where it is there already."""
        node = self._root
        names: list[str] = []
        for segment in template.split("/")[1:]:
            if segment.startswith("{") and segment.endswith("}"):
                names.append(segment[1:-1])
                if node.wild is None:
                    node.wild = _Node()
                node = node.wild
            else:
                node = node.children.setdefault(segment, _Node())
        if method in node.methods:
            raise RouteError(f"{method} {template} is declared twice")
        if node.methods and node.names != tuple(names):
            raise RouteError(f"{template}: parameters are named differently for another method")
        node.names = tuple(names)
        node.methods[method] = target
        if not names:
            self._fixed[template] = Match(node.methods, {})

    def match(self, path: str) -> Match[Target] | None:
        """Return what a raw, percent-encoded path leads to; 400 where it cannot be decoded."""
        found = self._fixed.get(path)
        if found is not None:
            return found
        segments = path.split("/")[1:]
        if "%" in path:
            segments = [_decode(segment) for segment in segments]
        values: list[str] = []
        node = self._walk(self._root, segments, 0, values)
        if node is None:
            return None
        return Match(node.methods, dict(zip(node.names, values, strict=True)))

    def _walk(
        self, node: _Node[Target], segments: list[str], at: int, values: list[str]
    ) -> _Node[Target] | None:
        if at == len(segments):
            return node if node.methods else None
        child = node.children.get(segments[at])
        if child is not None:
            found = self._walk(child, segments, at + 1, values)
            if found is not None:
                return found
        if node.wild is None or not segments[at]:
            return None
        values.append(segments[at])
        found = self._walk(node.wild, segments, at + 1, values)
        if found is None:
            values.pop()
        return found


def _decode(segment: str) -> str:
    try:
        return unquote_to_bytes(segment).decode()
    except UnicodeDecodeError:
        raise ApiError(400, "the path is not UTF-8") from None
