"""Replaces slow parts of moto by faster ones with the same answers. Most of them compute the same values again for each call."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator, Sequence
from functools import cache, lru_cache
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import moto.core.responses
import moto.dynamodb.models
import moto.dynamodb.parsing.validators
import moto.kms.models
import moto.utilities.aws_headers
from moto.core.base_backend import BaseBackend
from moto.core.serialize import ResponseSerializer
from moto.dynamodb.models import DynamoDBBackend, DynamoType
from moto.dynamodb.models.table import Table
from moto.dynamodb.parsing.ast_nodes import DepthFirstTraverser, Expression, Node, UpdateExpressionFunction
from moto.dynamodb.parsing.expressions import UpdateExpressionParser

_get_value = ResponseSerializer.get_value
_urls = BaseBackend.urls.fget
_transact_write_items = DynamoDBBackend.transact_write_items


def _get_value_of_attribute(self: Any, value: Any, key: str, shape: Any) -> Any:
    """Take a DynamoDB value's type by its name alone: moto looks for each of the ten types under four names."""
    if type(value) is dict and shape.parent.name == "AttributeValue":
        return value.get(key)
    return _get_value(self, value, key, shape)


@cache
def _is_node(kind: type) -> bool:
    return issubclass(kind, Node)


@cache
def _is_nested(kind: type) -> bool:
    return issubclass(kind, Expression | UpdateExpressionFunction)


def _copied(node: Any) -> Any:
    """Copy the tree of an expression. Its leaves are texts."""
    copied = object.__new__(type(node))
    vars(copied).update(vars(node))
    if node.children is not None:
        copied.children = [_copied(child) if _is_node(type(child)) else child for child in node.children]
        for child in copied.children:
            if _is_node(type(child)):
                child.parent = copied
    return copied


def _find_clauses(self: Any, kinds: Sequence[type]) -> list[Any]:
    found: list[Any] = []
    for child in self.children or ():
        if type(child) in kinds:
            found.append(child)
        elif _is_nested(type(child)):
            found.extend(_find_clauses(child, kinds))
    return found


@cache
def _handled_as(traverser: type, kinds: tuple[type, ...], kind: type) -> type | None:
    """Which of the kinds of nodes that a traverser processes a node's type is."""
    return next((handled for handled in kinds if issubclass(kind, handled)), None)


def _traverse(self: Any, root: Any) -> Any:
    """Process a tree from its leaves to its root."""
    processors = self._processing_map()
    traverser, kinds = type(self), tuple(processors)
    hooked = traverser.pre_processing_of_child is not DepthFirstTraverser.pre_processing_of_child

    def visit(node: Any, at: int) -> Any:
        kind = type(node)
        if not _is_node(kind):
            return node
        parent = node.parent
        if node.children is not None:
            for number, child in enumerate(node.children):
                if hooked:
                    self.pre_processing_of_child(node, number)
                if _is_node(type(child)):
                    visit(child, number)
        if handled := _handled_as(traverser, kinds, kind):
            node = processors[handled](node)
            node.parent = parent
            if parent:
                parent.children[at] = node
        return node

    return visit(root, -1)


def _transact(self: Any, transact_items: list[dict[str, Any]]) -> None:
    """Before a transaction, keep the partitions that it changes: moto copies the whole table, once for each part of the transaction."""
    kept: dict[str, Table] = {}
    for name, key in [(part.get("TableName"), part.get("Key") or part.get("Item")) for item in transact_items for part in item.values()]:
        table = self.tables.get(name)
        if table is None or not key or table.hash_key_attr not in key:
            continue
        if name not in kept:
            kept[name] = copy.copy(table)
            kept[name].items = copy.copy(table.items)
        partition = DynamoType(key[table.hash_key_attr])
        if partition in table.items:
            kept[name].items[partition] = copy.deepcopy(table.items[partition])

    def deepcopy(value: Any) -> Any:
        return kept[value.name] if isinstance(value, Table) and value.name in kept else copy.deepcopy(value)

    with patch.object(moto.dynamodb.models, "copy", SimpleNamespace(deepcopy=deepcopy)):
        _transact_write_items(self, transact_items)


@cache
def _urls_of(kind: type) -> dict[str, Any]:
    found: dict[str, Any] = _urls(object.__new__(kind))
    return found


def _request_id(headers: dict[str, Any] | None = None) -> str:
    """A constant: moto draws 52 letters for each call."""
    if headers is not None:
        headers["x-amzn-requestid"] = REQUEST_ID
    return REQUEST_ID


REQUEST_ID = "0" * 52


@contextlib.contextmanager
def fast_moto() -> Iterator[None]:
    replaced = (
        # Moto makes an RSA key for each KMS key, though a symmetric key does not use it.
        (moto.kms.models, "generate_private_key", lambda spec: None),
        (ResponseSerializer, "get_value", _get_value_of_attribute),
        (moto.core.responses, "camelcase_to_underscores", _to_underscores),
        (moto.core.responses, "method_names_from_class", _method_names),
        (moto.core.responses, "gen_amzn_requestid_long", _request_id),
        (BaseBackend, "urls", property(lambda self: _urls_of(type(self)))),
        (moto.dynamodb.parsing.validators, "deepcopy", _copied),
        (DynamoDBBackend, "transact_write_items", _transact),
        (DepthFirstTraverser, "traverse", _traverse),
        (Node, "find_clauses", _find_clauses),
        # A tree is copied before it is changed.
        (UpdateExpressionParser, "make", _parsed_update),
    )
    with contextlib.ExitStack() as undo:
        for owner, name, faster in replaced:
            undo.enter_context(patch.object(owner, name, faster))
        yield


_parsed_update = lru_cache(1000)(UpdateExpressionParser.make)
_to_underscores = lru_cache(None)(moto.core.responses.camelcase_to_underscores)
_method_names = cache(moto.core.responses.method_names_from_class)
