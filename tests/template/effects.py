"""Which requests to AWS each handler can lead to, read from the source of what ships.

A function is reached where its name stands in one that is reached: `x.save` reaches every `save`,
`claim(...)` the `claim` of the module or the one that it imports. That is more than can happen,
never less.
"""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

RESOURCES = {
    "symbols_table": "SymbolsTable",
    "state_table": "StateTable",
    "checkup_queue_url": "CheckupQueue",
    "tick_queue_url": "TickQueue",
    "broker_secret_id": "BrokerSecret",
    "webhook_secret_id": "WebhookSecret",
    "notify_topic_arn": "NotifyTopic",
}
BOTO3 = {
    "send_message": "sqs:SendMessage",
    "publish": "sns:Publish",
    "get_secret_value": "secretsmanager:GetSecretValue",
    "get_item": "dynamodb:GetItem",
    "put_item": "dynamodb:PutItem",
    "update_item": "dynamodb:UpdateItem",
    "delete_item": "dynamodb:DeleteItem",
    "query": "dynamodb:Query",
    "scan": "dynamodb:Scan",
    "invoke": "lambda:InvokeFunction",
}
PYNAMODB = {
    "get": "dynamodb:GetItem",
    "refresh": "dynamodb:GetItem",
    "save": "dynamodb:PutItem",
    "update": "dynamodb:UpdateItem",
    "delete": "dynamodb:DeleteItem",
    "query": "dynamodb:Query",
    "scan": "dynamodb:Scan",
}
# How the names of a service's resources end in the template.
KINDS = {"dynamodb": "Table", "sqs": "Queue", "sns": "Topic", "secretsmanager": "Secret"}
# `sources.engine` is a field whose value is `_engine`.
FIELDS = {"engine": "_engine"}


@dataclass(frozen=True)
class Function:
    module: str
    owner: str
    """The class, "" where there is none."""
    name: str
    node: ast.AST
    pynamodb: bool

    def attributes(self) -> set[str]:
        return {one.attr for one in self._accesses()}

    def own_attributes(self) -> set[str]:
        """What is looked up on `self`: of this class, or of one beside it that it inherits from."""
        return {one.attr for one in self._accesses() if _is_self(one)}

    def others_attributes(self) -> set[str]:
        return {one.attr for one in self._accesses() if not _is_self(one)}

    def _accesses(self) -> list[ast.Attribute]:
        return [one for one in ast.walk(self.node) if isinstance(one, ast.Attribute)]

    def names(self) -> set[str]:
        return {one.id for one in ast.walk(self.node) if isinstance(one, ast.Name)}

    def actions(self) -> set[str]:
        return set(self._actions())

    def _actions(self) -> Iterator[str]:
        for call in ast.walk(self.node):
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
                continue
            name = call.func.attr
            if name == "get_paginator" and isinstance(call.args[0], ast.Constant):
                yield BOTO3[str(call.args[0].value)]
            elif name == "get" and call.args and isinstance(call.args[0], ast.Constant):
                continue  # a dictionary's
            elif self.pynamodb and name in PYNAMODB:
                yield PYNAMODB[name]
            elif name in BOTO3:
                yield BOTO3[name]


def _is_self(access: ast.Attribute) -> bool:
    return isinstance(access.value, ast.Name) and access.value.id == "self"


class Code:
    """Every function of the folder that ships."""

    def __init__(self, root: Path) -> None:
        self.functions: list[Function] = []
        self.imports: dict[str, set[str]] = {}
        for path in sorted(root.rglob("*.py")):
            module = ".".join(path.relative_to(root).with_suffix("").parts)
            tree = ast.parse(path.read_text())
            imported = [one for one in ast.walk(tree) if isinstance(one, ast.ImportFrom)]
            self.imports[module] = {alias.name for one in imported for alias in one.names}
            pynamodb = any((one.module or "").startswith("pynamodb") for one in imported)
            self._add(module, "", tree, pynamodb)

    def _add(self, module: str, owner: str, node: ast.AST, pynamodb: bool) -> None:
        for one in ast.iter_child_nodes(node):
            if isinstance(one, ast.ClassDef):
                self._add(module, one.name, one, pynamodb)
            elif isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef):
                self.functions.append(Function(module, owner, one.name, one, pynamodb))

    def reached(self, module: str) -> list[Function]:
        """Every function that the handler of a module can lead to."""
        pending = [one for one in self.functions if (one.module, one.name) == (module, "handler")]
        assert pending, f"{module} has no handler"
        found: list[Function] = []
        while pending:
            one = pending.pop()
            if one not in found:
                found.append(one)
                pending += self._named_in(one)
        return found

    def _named_in(self, caller: Function) -> Iterator[Function]:
        # `super().__init__` is of no class in particular; a class is reached by its own name.
        attributes = caller.others_attributes() - {"__init__"}
        attributes |= {field for name, field in FIELDS.items() if name in attributes}
        own = caller.own_attributes()
        names = caller.names()
        for one in self.functions:
            known = one.module == caller.module or one.name in self.imports[caller.module]
            by_name = one.name in names and not one.owner and known
            made = one.name == "__init__" and one.owner in names
            inherited = one.name in own and one.owner and one.module == caller.module
            if one.name in attributes or by_name or made or inherited:
                yield one

    def effects(self, module: str) -> set[tuple[str, str]]:
        """Return (action, resource of the template) for all that a handler can lead to."""
        reached = self.reached(module)
        return {
            (action, resource)
            for one in reached
            for action in one.actions()
            for resource in self._resources(action, one, reached)
        }

    def _resources(self, action: str, one: Function, reached: list[Function]) -> set[str]:
        """What a request is made to: named in the function, by the methods of its class that call
        it, in its class, or by whoever else calls it.
        """
        callers = [other for other in reached if one in self._named_in(other)]
        near = [other for other in callers if one.owner and other.owner == one.owner]
        siblings = [other for other in self.functions if one.owner and other.owner == one.owner]
        families = [
            other
            for other in self.functions
            for it in callers
            if it.owner and other.owner == it.owner
        ]
        for places in ([one], near, siblings, callers, families):
            named = {attribute for place in places for attribute in place.attributes()}
            found = {RESOURCES[name] for name in named & RESOURCES.keys()}
            fitting = {name for name in found if name.endswith(KINDS[action.split(":")[0]])}
            if fitting:
                return fitting
        raise AssertionError(f"{one.module}.{one.name} makes a request, and to what?")
