"""SGLang's router in front of several groups: each a launch of one recipe on one cluster.

The router is a package of its own, sglang-router. What it accepts is read from its wheel, like a release's flags.
"""

from __future__ import annotations

import functools
import ipaddress
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mimo_gb10.context import Context
from mimo_gb10.findings import Finding, Location, Refused, error, has_errors, warning, worst_first
from mimo_gb10.flag_checks import check_value
from mimo_gb10.launch import Checked, check, find_document
from mimo_gb10.names import EVERYWHERE, canonical_ip, is_host, with_port
from mimo_gb10.paths import ROUTERS, names_in
from mimo_gb10.plan import LaunchPlan
from mimo_gb10.release import Flag
from mimo_gb10.schema import check_schema
from mimo_gb10.text.document import Document
from mimo_gb10.text.shell import command_lines, comment
from mimo_gb10.text.suggest import did_you_mean

COMMAND = ("python3", "-m", "sglang_router.launch_router")

_PREFIX = "sglang-router-"
_OWN = {"host": "serve.host", "port": "serve.port", "worker-urls": "the addresses of the clusters' heads"}
_KEYS = ("api-key", "control-plane-api-keys")
# SGLang's own time for a health request (SGLANG_HEALTH_CHECK_TIMEOUT).
_HEALTH_SECONDS = 20

Value = str | int | float | bool


@dataclass(frozen=True, slots=True)
class Router:
    """How requests are spread, as its file says it.

    Attributes:
        name: The file's name without suffix.
        title: One line.
        package: The release of sglang-router that the flags are for.
        serve_host: Address that it binds.
        serve_port: Its TCP port.
        flags: Values by long option name without dashes.
        why: Reasons by flag or key.
        document: The file it came from, for positions in findings.
    """

    name: str
    title: str
    package: str
    serve_host: str
    serve_port: int
    flags: Mapping[str, Value]
    why: Mapping[str, str]
    document: Document


@dataclass(frozen=True, slots=True)
class Catalog:
    """What one release of the router accepts.

    Attributes:
        version: Of the package.
        wheel: The file that it was read from.
        sha256: That file's checksum.
        flags: By long option name without dashes.
    """

    version: str
    wheel: str
    sha256: str
    flags: Mapping[str, Flag]


@dataclass(frozen=True, slots=True)
class Routed:
    """A checked router.

    Attributes:
        router: What it is told.
        plans: The launches of the groups, in the order given.
        findings: Worst first; errors of the groups among them.
    """

    router: Router | None
    plans: tuple[LaunchPlan, ...]
    findings: tuple[Finding, ...]

    def argv(self) -> tuple[str, ...]:
        """The router's whole argument list.

        Raises:
            Refused: If something is wrong.
        """
        if self.router is None or has_errors(self.findings):
            raise Refused(self.findings)
        words = [*COMMAND, "--host", self.router.serve_host, "--port", str(self.router.serve_port), "--worker-urls"]
        words += [server_url(plan) for plan in self.plans]
        for name, value in self.router.flags.items():
            if value is not False:
                words += [f"--{name}"] if value is True else [f"--{name}", str(value)]
        return tuple(words)


def known_packages() -> list[str]:
    """Every release of the router with a catalog."""
    return [name.removeprefix(_PREFIX) for name in names_in(ROUTERS, ".json")]


@functools.cache
def load_catalog(version: str) -> Catalog:
    """Read the catalog of one release of the router.

    Raises:
        KeyError: If there is none.
    """
    if version not in known_packages():
        raise KeyError(version)
    data = json.loads((ROUTERS / f"{_PREFIX}{version}.json").read_text(encoding="utf-8"))
    return Catalog(
        version=data["version"],
        wheel=data["wheel"],
        sha256=data["sha256"],
        flags={_long(entry): _flag(entry) for entry in data["flags"]},
    )


def _long(entry: Mapping[str, Any]) -> str:
    return str(next(option for option in entry["options"] if option.startswith("--")))[2:]


def _flag(entry: Mapping[str, Any]) -> Flag:
    return Flag(
        options=tuple(entry["options"]),
        dest=entry["dest"],
        action=entry["action"],
        type=entry["type"],
        nargs=entry["nargs"],
        choices=None if entry["choices"] is None else tuple(entry["choices"]),
        default=entry["default"],
        fallback=None,
        required=False,
        deprecated=False,
        replaced_by=None,
        source=entry["source"],
    )


def load_router(document: Document) -> Router:
    """Make a router of a document.

    Raises:
        Refused: If the document breaks the router schema, or its release has no catalog.
    """
    found = check_schema(document, "router")
    value = document.value
    if not found and value["package"] not in known_packages():
        known = f"Known: {', '.join(known_packages())}."
        place = document.location(("package",))
        found = [error("router-unknown", f"there is no catalog of sglang-router {value['package']}", known, place)]
    if found:
        raise Refused(found)
    return Router(
        name=value["name"],
        title=value["title"],
        package=value["package"],
        serve_host=value["serve"]["host"],
        serve_port=value["serve"]["port"],
        flags=value["flags"],
        why=value["why"],
        document=document,
    )


def route(router: str, recipe: str, clusters: Sequence[str]) -> Routed:
    """Check a router in front of one recipe on several clusters, all by name or path."""
    groups = [check(recipe, cluster) for cluster in clusters]
    # What only warns of a group is told where the group is launched.
    findings = [found for group in groups for found in group.findings if has_errors([found])]
    loaded: Router | None = None
    try:
        loaded = load_router(find_document(router, ROUTERS, "router"))
    except Refused as refused:
        findings += refused.findings
    contexts = [group.context for group in groups if group.context is not None]
    if loaded is not None:
        findings += _check_flags(loaded)
        findings += _check_values(loaded, contexts)
    findings += _check_groups(contexts)
    return Routed(loaded, _plans(groups), tuple(worst_first(findings)))


def _plans(groups: Sequence[Checked]) -> tuple[LaunchPlan, ...]:
    return tuple(group.plan() for group in groups if not group.refused)


def _check_flags(router: Router) -> Iterator[Finding]:
    """Every flag against the router's own parser."""
    catalog = load_catalog(router.package)
    for name, value in router.flags.items():
        place, key = router.document.location(("flags", name)), router.document.location(("flags", name), key=True)
        flag = catalog.flags.get(name)
        if name in _OWN:
            yield error("router-own-flag", f"'{name}' is not for the flags", f"It comes from {_OWN[name]}.", key)
        elif name in _KEYS:
            yield error(
                "key-on-command-line",
                f"{name} would stand in the command, where every user of the machine can read it",
                "Leave it out: the router passes a client's key on, and the groups check it.",
                key,
            )
        elif flag is None:
            remedy = did_you_mean(name, list(catalog.flags), f"{' '.join(COMMAND)} --help lists them.")
            yield error("flag-unknown", f"sglang-router {catalog.version} has no flag '{name}'", remedy, key)
        else:
            yield from check_value(flag, name, value, place)
            if isinstance(value, str) and not value.isprintable():
                remedy = "Remove it: a launch value is one line of printable text."
                yield error("control-character", f"flags.{name} holds a control character", remedy, place)
        if name not in router.why:
            yield warning("why-missing", f"'{name}' has no reason", f"Add why.{name}: one line, with a source.", key)


def _check_values(router: Router, contexts: Sequence[Context]) -> Iterator[Finding]:
    """What the parser takes and a reader would regret. Each was seen with the release, on stand-in servers."""
    if router.flags.get("disable-circuit-breaker") is not True:
        yield warning(
            "router-breaker",
            "the circuit breaker counts a client's own mistakes too, answers of 400: some bad requests shut every "
            "group out for a minute",
            "Write disable-circuit-breaker: true; the health checks find a dead group.",
            _at(router, "cb-failure-threshold"),
        )
    if router.flags.get("disable-retries") is not True:
        yield warning(
            "router-retries",
            "a request that ends one group can be sent to the next one",
            "Write disable-retries: true.",
            _at(router, "retry-max-retries"),
        )
    timeout = _number(router, "health-check-timeout-secs")
    if timeout <= _HEALTH_SECONDS:
        yield warning(
            "router-health",
            f"a health check is given {timeout:g} seconds, and SGLang takes up to {_HEALTH_SECONDS} to answer one",
            "Write health-check-timeout-secs: 30.",
            _at(router, "health-check-timeout-secs"),
        )
    threshold = _number(router, "balance-abs-threshold")
    for context in contexts[:1]:
        most = context.number("max-running-requests", 0)
        if most and threshold > most and router.flags.get("policy", "cache_aware") == "cache_aware":
            yield warning(
                "router-balance",
                f"one group gets {threshold:g} requests more than another before they are balanced, and runs {most}",
                f"Write balance-abs-threshold: {most}.",
                _at(router, "balance-abs-threshold"),
            )
    if router.serve_host in EVERYWHERE:
        yield warning(
            "router-open",
            f"the router answers on every interface ({router.serve_host}), and whoever reaches it can add a group of "
            "their own to it, which then gets other people's requests",
            "Set serve.host to one address, and keep its port behind a firewall or a proxy that lets only /v1 through.",
            router.document.location(("serve", "host")),
        )
    if not is_host(router.serve_host):
        what = f"serve.host {router.serve_host!r} is neither an IP address nor a host name"
        yield error("node-address", what, "Write an address.", router.document.location(("serve", "host")))
    for context in contexts:
        same = router.serve_port in (context.cluster.serve_port, context.cluster.rendezvous_port)
        if same:
            yield warning(
                "port-clash",
                f"the router's port {router.serve_port} is one of cluster {context.cluster.name}: not on the same host",
                "Choose another serve.port.",
                router.document.location(("serve", "port")),
            )


def _check_groups(contexts: Sequence[Context]) -> Iterator[Finding]:
    """Groups share no node, and the router reaches each head."""
    seen: dict[str, str] = {}
    for context in contexts:
        cluster = context.cluster
        for index, node in enumerate(cluster.nodes):
            same = canonical_ip(node.address) or node.address.lower().rstrip(".")
            if same in seen:
                yield error(
                    "router-node-shared",
                    f"{node.address} is a node of {seen[same]} and of {cluster.name}",
                    "A node belongs to one group: correct the lists.",
                    cluster.document.location(("nodes", index, "address")),
                )
            seen.setdefault(same, cluster.name)
        if _is_loopback(cluster.serve_host):
            yield error(
                "router-loopback",
                f"the head of {cluster.name} answers on {cluster.serve_host} only: a router elsewhere cannot reach it",
                "Set serve.host to an address of the head.",
                cluster.document.location(("serve", "host")),
            )


def server_url(plan: LaunchPlan) -> str:
    """Where a group answers: the address that its head binds, or its fabric address where it binds all."""
    head = plan.ranks[0]
    host = head.option("--host") or head.address
    scheme = "https" if head.option("--ssl-certfile") else "http"
    address = head.address if host in EVERYWHERE else host
    return f"{scheme}://{with_port(address, int(head.option('--port') or 30000))}"


def script(routed: Routed) -> str:
    """The router's command as a script.

    Raises:
        Refused: If something is wrong.
    """
    argv = routed.argv()
    assert routed.router is not None
    router, clusters = routed.router, ", ".join(comment(plan.cluster) for plan in routed.plans)
    lines = [
        comment(router.title),
        f"Router {router.name} for {comment(routed.plans[0].recipe)} on {clusters}.",
        f"Once, in an environment of its own: pip install sglang-router=={router.package}",
    ]
    head = "#!/usr/bin/env bash\n" + "".join(f"# {line}\n" for line in lines)
    return f"{head}set -euo pipefail\n\n{command_lines(('exec', *argv[:3]), argv[3:])}\n"


def _at(router: Router, flag: str) -> Location:
    path = ("flags", flag) if flag in router.flags else ("flags",)
    return router.document.location(path, key=flag not in router.flags)


def _number(router: Router, name: str) -> float:
    given = router.flags.get(name)
    default = load_catalog(router.package).flags[name].default
    value = given if isinstance(given, int | float) and not isinstance(given, bool) else default
    return float(value)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"
