"""The router's command: made of cluster files, checked against the router's own parser."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mimo_gb10 import router
from mimo_gb10.defaults import DEFAULT_RECIPE, DEFAULT_ROUTER
from mimo_gb10.findings import Severity
from mimo_gb10.launch import find_document, on_example
from mimo_gb10.paths import CLUSTERS, ROUTERS, names_in
from tests.support.run import make_stubs, run_command, run_script

GROUPS = ("example-8x-gb10-a", "example-8x-gb10-b")


def ours() -> router.Routed:
    return router.route(DEFAULT_ROUTER, DEFAULT_RECIPE, GROUPS)


def codes(routed: router.Routed) -> list[str]:
    return [found.code for found in routed.findings]


def changed(folder: Path, old: str, new: str) -> router.Routed:
    """Our router with one change in its file."""
    text = (ROUTERS / f"{DEFAULT_ROUTER}.yaml").read_text(encoding="utf-8")
    assert text.count(old) == 1
    file = folder / f"{DEFAULT_ROUTER}.yaml"
    file.write_text(text.replace(old, new), encoding="utf-8")
    return router.route(str(file), DEFAULT_RECIPE, GROUPS)


def cluster(folder: Path, old: str, new: str) -> router.Routed:
    """Our router, with one change in the second group's file."""
    text = (CLUSTERS / f"{GROUPS[1]}.yaml").read_text(encoding="utf-8")
    assert text.count(old) == 1
    file = folder / f"{GROUPS[1]}.yaml"
    file.write_text(text.replace(old, new), encoding="utf-8")
    return router.route(DEFAULT_ROUTER, DEFAULT_RECIPE, (GROUPS[0], str(file)))


def test_every_router_is_right_and_has_its_reasons() -> None:
    for name in names_in(ROUTERS):
        routed = router.route(name, DEFAULT_RECIPE, GROUPS)
        assert codes(routed) == ["router-open"]
        assert routed.router is not None
        assert set(routed.router.why) == {"package", *routed.router.flags}


def test_the_two_groups_are_eight_nodes() -> None:
    plans = ours().plans
    assert [len(plan.ranks) for plan in plans] == [4, 4]
    assert len({rank.address for plan in plans for rank in plan.ranks}) == 8
    # A group's launch is the recipe's launch on four nodes, whatever the other group does.
    alone = on_example(DEFAULT_RECIPE).plan()
    assert plans[0].ranks == alone.ranks


def test_the_command_has_the_heads_and_every_flag(tmp_path: Path) -> None:
    make_stubs(tmp_path)
    done = run_command("gen_router.py", *GROUPS)
    assert done.returncode == 0
    seen = run_script(done.stdout, tmp_path)
    assert tuple(seen.argv) == ours().argv()
    at = seen.argv.index("--worker-urls")
    assert seen.argv[at + 1 : at + 3] == ["http://192.168.100.10:30000", "http://192.168.100.14:30000"]
    routed = ours().router
    assert routed is not None
    assert all(f"--{name}" in seen.argv for name in routed.flags)
    assert "router-open" in done.stderr


def test_json_and_check() -> None:
    found = json.loads(run_command("gen_router.py", *GROUPS, "--json").stdout)
    assert [server["cluster"] for server in found["servers"]] == list(GROUPS)
    assert tuple(found["argv"]) == ours().argv()
    assert run_command("gen_router.py", *GROUPS, "--check").stdout.startswith("cache-aware before 2 groups:")
    assert run_command("gen_router.py", *GROUPS, "--strict").returncode == 1


@pytest.mark.parametrize(
    ("old", "new", "code", "severity"),
    [
        ("policy: cache_aware", "policy: cache_awar", "flag-choice", Severity.ERROR),
        ("disable-retries: true\n", "disable-retry: true\n", "flag-unknown", Severity.ERROR),
        ("  prometheus-host: 127.0.0.1\n", "  api-key: x\n", "key-on-command-line", Severity.ERROR),
        ("  prometheus-host: 127.0.0.1\n", "  port: 1\n", "router-own-flag", Severity.ERROR),
        ("balance-abs-threshold: 24", "balance-abs-threshold: 24.5", "flag-type", Severity.ERROR),
        ("balance-abs-threshold: 24", "balance-abs-threshold: 64", "router-balance", Severity.WARNING),
        ("  disable-retries: true\n", "  disable-retries: false\n", "router-retries", Severity.WARNING),
        ("  disable-circuit-breaker: true\n", "", "router-breaker", Severity.WARNING),
        ("health-check-timeout-secs: 30", "health-check-timeout-secs: 20", "router-health", Severity.WARNING),
        ("port: 30080", "port: 30000", "port-clash", Severity.WARNING),
        ("package: 0.3.2", "package: 0.3.1", "router-unknown", Severity.ERROR),
        ("title:", "titel:", "key-unknown", Severity.ERROR),
        ("host: 0.0.0.0", "host: not a host", "node-address", Severity.ERROR),
        ("  prometheus-host: 127.0.0.1\n", "  log-dir: /var/log\n", "why-missing", Severity.WARNING),
        ("  prometheus-host: 127.0.0.1\n", '  prometheus-host: "a\\nb"\n', "control-character", Severity.ERROR),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, old: str, new: str, code: str, severity: Severity) -> None:
    found = [found for found in changed(tmp_path, old, new).findings if found.code == code]
    assert [one.severity for one in found][:1] == [severity]
    assert all(one.location is not None and one.location.file.endswith("cache-aware.yaml") for one in found)


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("192.168.100.17", "192.168.100.13", "router-node-shared"),
        ("host: 0.0.0.0", "host: 127.0.0.1", "router-loopback"),
        ("  - {address: 192.168.100.17}\n", "", "node-count"),
    ],
)
def test_what_is_wrong_with_a_group_is_said(tmp_path: Path, old: str, new: str, code: str) -> None:
    routed = cluster(tmp_path, old, new)
    assert code in codes(routed)
    done = run_command("gen_router.py", GROUPS[0], str(tmp_path / f"{GROUPS[1]}.yaml"))
    assert (done.returncode, done.stdout) == (1, "")


def test_an_address_of_its_own_is_the_one_that_is_asked(tmp_path: Path) -> None:
    assert router.server_url(cluster(tmp_path, "host: 0.0.0.0", "host: 10.1.2.3").plans[1]) == "http://10.1.2.3:30000"
    assert router.server_url(cluster(tmp_path, "host: 0.0.0.0", 'host: "fd00::3"').plans[1]) == "http://[fd00::3]:30000"


def test_the_balance_is_the_recipes_own_number() -> None:
    context = on_example(DEFAULT_RECIPE).context
    loaded = router.load_router(find_document(DEFAULT_ROUTER, ROUTERS, "router"))
    assert context is not None
    assert loaded.flags["balance-abs-threshold"] == context.number("max-running-requests", 0)


def test_the_catalog_says_where_it_is_from() -> None:
    for version in router.known_packages():
        catalog = router.load_catalog(version)
        assert catalog.wheel.startswith(f"sglang_router-{version}-")
        assert len(catalog.sha256) == 64
        assert len(catalog.flags) > 80
        assert all(flag.source.startswith("sglang_router/router_args.py:") for flag in catalog.flags.values())
