"""What Ask leads to in the audit log: rules by number, addresses, nodes, and what was refused, or happened, when."""

from collections.abc import Iterator

from django.http import HttpRequest
from django.utils import timezone

from apps.access.models import Rule
from apps.accounts.pages import Line, Section, link_to_list, list_of, page_of
from apps.audit.asking.ask import Named
from apps.audit.browsing.query import parse, quoted, said
from apps.connections.models import Node

LOG = "audit.auditevent"


def sections_of_the_log(request: HttpRequest, named: Named) -> Iterator[Section]:
    """Each with links to the right search."""
    if named.searched and (lines := tuple(_searched(request, named))):
        yield Section("In the audit log", lines)
    for number in named.rules:
        if lines := tuple(_about_rule(request, number)):
            yield Section(f"Rule {number}", lines)
    for address in named.addresses:
        if lines := link_to_list(request, LOG, f"What came from {address}, hooks and staff?", q=f"ip:{address}"):
            yield Section(f"Address {address}", lines)
    for node in named.nodes:
        yield Section(f"Node {node}", tuple(_about_node(request, node)))


def _searched(request: HttpRequest, named: Named) -> Iterator[Line]:
    users = [quoted("user", user.username) for user in named.users]
    targets = [quoted("stream", name) for name in named.streams] + [quoted("number", name) for name in named.numbers]
    apps = [quoted("app", app.key) for app in named.apps]
    others = [f"ip:{address}" for address in named.addresses] + [quoted("node", node.node_id) for node in named.nodes]
    search = " ".join(filter(None, (*users, *targets, *apps, *others, named.searched)))
    words = said(parse(search), timezone.get_current_timezone(), timezone.now())
    yield from link_to_list(request, LOG, words, q=search)


def _about_rule(request: HttpRequest, number: int) -> Iterator[Line]:
    yield from link_to_list(request, LOG, f"Who changed rule {number}, when, and why?", q=f'target:"rule {number}"')
    yield from link_to_list(request, LOG, f"What did rule {number} decide?", q=f"rule:{number}")
    for rule in Rule.objects.with_names().filter(pk=number):
        if page := page_of(request, list_of(rule), rule.pk):
            yield Line(str(rule), page)


def _about_node(request: HttpRequest, node: Node) -> Iterator[Line]:
    yield from link_to_list(request, LOG, f"What came from node {node}?", q=quoted("node", node.node_id))
    refused = f"{quoted('node', node.node_id)} decision:refused"
    yield from link_to_list(request, LOG, f"What was refused on node {node}?", q=refused)
    yield Line(f"How node {node} is reached, and its key", page_of(request, "connections.node", node.pk))
