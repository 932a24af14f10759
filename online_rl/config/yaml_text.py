"""YAML as people mean it: 1e-6 is a number, a key given twice is an error."""

from __future__ import annotations

import re
from typing import Any

import yaml

from online_rl.errors import ConfigError


class _Loader(yaml.SafeLoader):
    """YAML 1.1 reads 1e-6 as text and lets the last of two equal keys win; this loader does neither."""

    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        """Refuse a key twice in what the text says; what `<<: *anchor` brings in, the mapping's own keys override."""
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if key.tag == MERGE:
                continue
            if key.tag != TEXT:
                found = repr(key.value) if isinstance(key, yaml.ScalarNode) else "a list or mapping"
                raise yaml.constructor.ConstructorError(None, None, f"key {found} is not text", key.start_mark)
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key.value!r} stands twice", key.start_mark)
            seen.add(key.value)
        return node


def _not_plain(loader: _Loader, node: yaml.Node) -> Any:
    tag = node.tag.removeprefix("tag:yaml.org,2002:")
    problem = f"found a value of the kind {tag!r}, expected plain text, numbers, lists and keys. Put it in quotes"
    raise yaml.constructor.ConstructorError(
        None, None, problem,
        node.start_mark,
    )  # fmt: skip


MERGE, TEXT = "tag:yaml.org,2002:merge", "tag:yaml.org,2002:str"
_Loader.add_constructor(None, _not_plain)
_FLOAT = re.compile(r"^[-+]?(\d[\d_]*(\.[\d_]*)?|\.\d[\d_]*)([eE][-+]?\d+)$")
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))


def parse_yaml(text: str, origin: str) -> Any:
    """The value of a YAML text. `origin` names it in the message when it is malformed."""
    try:
        return _unshared(yaml.load(text, _Loader), ())
    except RecursionError:
        raise ConfigError(f"{origin}: nested too deeply to be read; expected sections with keys.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "not readable"
        raise ConfigError(f"{origin}{where}: not valid YAML: {problem}.") from None
    except ValueError as error:  # a date that no calendar has, an anchor inside itself
        raise ConfigError(f"{origin}: not valid YAML: {error}.") from None


def _unshared(value: Any, around: tuple[int, ...]) -> Any:
    """The same lists and dicts, none shared by two keys, so that an override of one changes no other."""
    if id(value) in around:
        raise ValueError("an anchor stands inside what it names")
    inside = (*around, id(value))
    if isinstance(value, dict):
        return {key: _unshared(inner, inside) for key, inner in value.items()}
    return [_unshared(inner, inside) for inner in value] if isinstance(value, list) else value


def dump_yaml(data: Any) -> str:
    """Block style, keys in the order given."""
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=120)
