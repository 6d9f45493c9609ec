"""The launch builder says what gen_launch.py says, byte for byte, and refuses what it refuses."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mimo_gb10.cluster import Cluster, load_cluster
from mimo_gb10.commands.gen_launch import start_order_text
from mimo_gb10.compare import moved_recipe
from mimo_gb10.config_text import recipe_text
from mimo_gb10.defaults import DEFAULT_CLUSTER, DEFAULT_RECIPE, SCRIPT_TARGETS, TARGETS
from mimo_gb10.findings import Refused
from mimo_gb10.generate import builder
from mimo_gb10.launch import Checked, check, check_documents, example_cluster, find_document, recipes
from mimo_gb10.paths import CLUSTERS, DOCS, RECIPES, ROOT, names_in
from mimo_gb10.plan import LaunchPlan
from mimo_gb10.recipe import load_recipe
from mimo_gb10.release import load_release
from mimo_gb10.targets import file_name, preparations, renderer
from mimo_gb10.text.document import Document, parse_document, read_document
from tests.site import support

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.site, pytest.mark.xdist_group("tools")]

CASES = Path(__file__).parents[1] / "cases"
DATA = json.loads(builder.make()[f"{builder.FOLDER}/{builder.FILE}"].text)
CHOICES = [(choice["recipe"], choice["release"]) for choice in DATA["choices"]]
OWN = load_recipe(find_document(DEFAULT_RECIPE, RECIPES, "recipe")).sglang
OFFERED = sorted({recipe for recipe, _ in CHOICES})

# Everything that the page's script says of clusters, in one call.
ASK = """async ([data, cases]) => {
  const {check, clusterYaml, filesOf, findChoice} = await import('/tools/launch.js');
  return cases.map(([recipe, release, target, cluster]) => {
    const choice = findChoice(data, recipe, release);
    const refused = check(data, choice, cluster).map(({path}) => path);
    if (refused.length) return {refused};
    return {refused, files: filesOf(data, choice, target, cluster), yaml: clusterYaml(data, cluster)};
  });
}"""

Case = tuple[str, str, str, dict[str, Any]]


@pytest.fixture(scope="module")
def page(browser: Browser) -> Iterator[Page]:
    """An empty page on the origin of the scripts."""
    with support.serving(DOCS / "assets") as url:
        opened = browser.new_page()
        opened.goto(f"{url}/tools/")
        yield opened
        opened.close()


def ask(page: Page, cases: Sequence[Case]) -> list[dict[str, Any]]:
    answers: list[dict[str, Any]] = page.evaluate(ASK, [DATA, cases])
    return answers


def example() -> dict[str, Any]:
    """The example cluster, to change."""
    copied: dict[str, Any] = json.loads(json.dumps(DATA["example"]))
    return copied


def recipe_for(name: str, release: str) -> Document:
    """A recipe's document, for another release than its own the text that compare_releases.py writes."""
    document = find_document(name, RECIPES, "recipe")
    recipe = load_recipe(document)
    if recipe.sglang == release:
        return document
    moved, _ = moved_recipe(recipe, load_release(recipe.sglang), load_release(release))
    return parse_document(recipe_text(moved).encode(), f"{name}.yaml")


RECIPE_DOCUMENTS = {choice: recipe_for(*choice) for choice in CHOICES}


def python_says(case: Case) -> Checked:
    recipe, release, _, cluster = case
    return check_documents(RECIPE_DOCUMENTS[recipe, release], Document("<test>", cluster))


def files(plan: LaunchPlan, target: str) -> dict[str, str]:
    """What ``gen_launch.py --out`` writes."""
    prepared = preparations(target, plan)
    ranks = {file_name(rank): renderer(target)(plan, rank) for rank in plan.ranks}
    return {**prepared, **ranks, "start-order.txt": start_order_text(plan, prepared)}


def contents(cluster: Cluster) -> list[Any]:
    return [getattr(cluster, name) for name in Cluster.__slots__ if name != "document"]


def compare(cases: Sequence[Case], answers: Sequence[Mapping[str, Any]]) -> int:
    """Compare both sides' answers; returns how many cases were not refused."""
    accepted = 0
    for case, answer in zip(cases, answers, strict=True):
        checked = python_says(case)
        assert bool(answer["refused"]) == checked.refused, (case, answer["refused"], checked.findings)
        if checked.refused:
            continue
        accepted += 1
        assert answer["files"] == files(checked.plan(), case[2])
        assert checked.context is not None
        read = load_cluster(parse_document(answer["yaml"].encode(), "test.yaml"))
        assert contents(read) == contents(checked.context.cluster)
    return accepted


# --- the same as Python


@pytest.mark.parametrize("target", SCRIPT_TARGETS)
@pytest.mark.parametrize("name", OFFERED)
def test_fixtures_of_every_recipe_and_target(page: Page, name: str, target: str) -> None:
    documents = [find_document(cluster, CLUSTERS, "cluster").value for cluster in names_in(CLUSTERS)]
    documents += [read_document(path).value for path in sorted((CASES / "valid").glob("cluster-*.yaml"))]
    cases = [
        (recipe, release, target, cluster) for recipe, release in CHOICES if recipe == name for cluster in documents
    ]
    assert compare(cases, ask(page, cases)) >= 6 * len([recipe for recipe, _ in CHOICES if recipe == name])


def test_bad_fixtures_are_refused(page: Page) -> None:
    cases: list[Case] = []
    for path in sorted((CASES / "invalid").glob("cluster-*.yaml")):
        try:
            value = read_document(path).value
        except Refused:
            continue  # not even YAML: a form has no such text
        if isinstance(value.get("nodes"), list) and all(isinstance(node, dict) for node in value["nodes"]):
            cases += [(name, release, "bash", value) for name, release in CHOICES if name == DEFAULT_RECIPE]
    assert len(cases) > 20
    # A key that no schema knows cannot be typed, nor can a value of another kind than the form's fields give.
    answers = ask(page, cases)
    typed = [index for index, case in enumerate(cases) if set(case[3]) <= set(DATA["example"]) | {"gpus_per_node"}]
    typed = [
        index for index in typed if not any(found.code == "key-unknown" for found in python_says(cases[index]).findings)
    ]
    assert len(typed) > 20
    compare([cases[index] for index in typed], [answers[index] for index in typed])


GOOD_NAMES = ["a", "lab-4x", "0", "0x1f", "1e3", "1.5", "no", "null", "2026-01-31", "a.b-c.", "y", "007"]
BAD_NAMES = ["", "-a", "A", "a b", "a_b", "a\n", "ä", "."]
ADDRESSES = [
    "10.0.0.1", "10.0.0.2", "10.0.0.3", "192.168.100.10", "fd00::1", "FD00::1", "fd00:0:0:0:0:0:0:1", "fe80::1%eth0",
    "fe80::1%eth1", "::ffff:10.0.0.1", "1:2:3:4:5:6:7:8", "1::8", "::1", "spark-1", "Spark-1", "spark-1.",
    "spark-2.lan", "3com.example", "a" * 63, "::ffff:a00:1", "1.2.3.4.example", "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8",
    "1:2:3:4:5:6:1.2.3.4",
]  # fmt: skip
BAD_ADDRESSES = [
    "", "10.0.0.256", "10.0.0.01", "10.0.0", "1:2:3", ":::", "1::2::3", "fd00::1%", "fd00::1%a b", "12345::", "a" * 64,
    "-a", "a-", "a..b", "a_b", "10.0.0.1:80", "[::1]", "::", "0.0.0.0", "0:0:0:0:0:0:0:0", "$(id)", "a b", "é", "a\n",
    "1:2:3:4:5:6:7:8:9", "1::2:3:4:5:6:7:8", ":1:2:3:4:5:6:7", "1:2:3:4:5:6:7:", "1.2.3.4::", "::1.2.3", "٣.1.1.1",
    "::1%eth0%eth1", "10.0.0.1%eth0", "1.2.3.4.",
]  # fmt: skip
HOSTILE = [
    "'", '"', ",", "$(reboot)", "`id`", "\\", " ", "&&", ";", "#", "!", "~", "*", "{head}", "{1..3}", "%s", "é", "模型",
    "🚀", "=", ":", "@", "+", "-", "%", "a", "\u00a0", "\u3000", "\ue000", "\U000e0001", "\ufffd", "\ufffe", "[", "]",
    "'\"'\"'", '""', "\ufffc", "e\u0301",
]  # fmt: skip
UNFIT = ["\n", "\t", "\x00", "\x7f", "\u202e", "\ufeff", "\u2028", "\x85", "\r"]
INTERFACES = ["eth0", "enP2p1s0f0np0", "-eth", "eth0.100", "a@b", "_", "x" * 15, "no", "1e3", "0x1", "null"]
BAD_INTERFACES = ["", "x" * 16, "a b", "eth/0", "eth0\n", "é", "$x"]
DEVICES = ["rocep1s0f0", "roceP2p1s0f0", "mlx5_0", "-", "1.5", "x" * 64, "on", "12_30"]
BAD_DEVICES = ["", "x" * 65, "a,b", "a b", "é", "mlx5_0\n"]
PORTS = [1, 80, 29500, 29501, 29513, 30000, 55535, 55536, 65535]


def random_case(rng: random.Random, wrong: float) -> Case:
    """A cluster that may be anything a form can give; `wrong` is how likely each value is a bad one."""

    def one(good: Sequence[Any], bad: Sequence[Any]) -> Any:
        return rng.choice(bad if rng.random() < wrong else good)

    def devices() -> list[str]:
        picked = [one(DEVICES, BAD_DEVICES) for _ in range(rng.randint(1, 3))]
        return picked if rng.random() < wrong else list(dict.fromkeys(picked))

    def path() -> str:
        parts = [rng.choice(UNFIT if rng.random() < wrong / 4 else HOSTILE) for _ in range(rng.randint(0, 8))]
        return str(one(["/"], ["", "models/", " /"])) + "".join(parts)

    def port() -> Any:
        return one([*PORTS, rng.randint(1, 65535)], [0, -1, 65536, 99999, "x", ""])

    recipe, release = rng.choice(CHOICES)
    count = 4
    addresses = rng.sample(ADDRESSES, count) if rng.random() > wrong else rng.choices(ADDRESSES, k=count)
    nodes = []
    for address in addresses:
        node: dict[str, Any] = {"address": one([address], BAD_ADDRESSES)}
        if rng.random() < 0.3:
            node["socket_interface"] = one(INTERFACES, BAD_INTERFACES)
        if rng.random() < 0.3:
            node["rdma_devices"] = devices()
        nodes.append(node)
    cluster: dict[str, Any] = {
        "name": one(GOOD_NAMES, BAD_NAMES),
        "model_path": path(),
        "rendezvous": {"port": port()},
        "serve": {"host": one(["0.0.0.0", "::", *ADDRESSES], [*BAD_ADDRESSES[:10], ""]), "port": port()},
        "fabric": {"socket_interface": one(INTERFACES, BAD_INTERFACES), "rdma_devices": devices()},
        "nodes": nodes,
    }
    if rng.random() < 0.3:
        cluster["gpus_per_node"] = one([1, 2, 8], [0, -1, "two"])
    return recipe, release, rng.choice(list(SCRIPT_TARGETS)), cluster


@pytest.mark.parametrize("wrong", [0.0, 0.03, 0.3])
def test_random_clusters(page: Page, wrong: float) -> None:
    rng = random.Random(f"builder {wrong}")
    cases = [random_case(rng, wrong) for _ in range(700)]
    accepted = compare(cases, ask(page, cases))
    # Two spellings of one address can meet by chance, so a few good values are refused together.
    assert {0.0: accepted > 300, 0.03: 30 < accepted < 600, 0.3: accepted < 100}[wrong]


def test_random_recipes_and_targets_are_all_met() -> None:
    rng = random.Random("builder 0.0")
    met = {random_case(rng, 0.0)[:3] for _ in range(700)}
    assert met == {(*choice, target) for choice in CHOICES for target in SCRIPT_TARGETS}


@pytest.mark.parametrize("where", ["address", "serve.host"])
def test_every_address_in_every_place(page: Page, where: str) -> None:
    cases: list[Case] = []
    for address in [*ADDRESSES, *BAD_ADDRESSES]:
        cluster = example()
        if where == "address":
            cluster["nodes"][0]["address"] = address
        else:
            cluster["serve"]["host"] = address
        cases.append((*CHOICES[1], "docker", cluster))
    assert compare(cases, ask(page, cases)) >= len(ADDRESSES)


def test_every_character_in_a_path(page: Page) -> None:
    """One character at a time: which are refused, and that the others survive the quoting and the cluster file."""
    characters = [chr(code) for code in [*range(0xD800), *range(0xE000, 0x11000), 0x1F680, 0xE0001, 0x10FFFF]]
    refused = page.evaluate(
        """async ([data, characters]) => {
          const {check, findChoice} = await import('/tools/launch.js');
          const choice = findChoice(data, data.recipe);
          const of = (ch) => check(data, choice, {...data.example, model_path: '/' + ch}).length > 0;
          return characters.filter(of);
        }""",
        [DATA, characters],
    )
    from mimo_gb10.flag_checks import check_cluster_text

    context = check(DEFAULT_RECIPE, DEFAULT_CLUSTER).context
    assert context is not None
    text = "".join(ch for ch in characters if ch not in refused)
    cases: list[Case] = []
    for start in range(0, len(text), 500):
        cluster = {**DATA["example"], "model_path": "/" + text[start : start + 500]}
        cases.append((DEFAULT_RECIPE, context.recipe.sglang, "docker", cluster))
    assert compare(cases, ask(page, cases)) == len(cases)
    for ch in refused:
        document = context.cluster.document.with_override(("model_path",), f"/{ch}", "test")
        wrong = type(context)(context.recipe, load_cluster(document), context.model, context.release)
        assert list(check_cluster_text(wrong)), ascii(ch)


def test_what_is_offered() -> None:
    own = {(recipe.name, recipe.sglang) for recipe in recipes() if example_cluster(recipe) == DEFAULT_CLUSTER}
    assert own <= set(CHOICES)
    assert {recipe for recipe, _ in CHOICES} == {recipe for recipe, _ in own}
    for choice in DATA["choices"]:
        assert not check_documents(
            RECIPE_DOCUMENTS[choice["recipe"], choice["release"]], find_document(DEFAULT_CLUSTER, CLUSTERS, "cluster")
        ).refused
        # An image that does not name its release is of one release only.
        assert choice["own"] or f"v{choice['release']}" in choice["image"]


# --- what the templates refuse to carry


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("exec \ue000name\ue001", "unquoted"),
        ("exec '--x' \ue000serve_port\ue001", "unquoted"),
        ("  --name '\ue000socket_interface=0\ue001'", "dash"),
        ("  --x '\"a \ue000model_path,\"\"\ue001'", "changed"),
        ("# \\ue000model_path,\"\\ue001", "comment"),
        ("# '\\ue000name\\ue001'", "comment"),
    ],
)  # fmt: skip
def test_a_template_that_would_lie_is_refused(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        builder.template(text, shell=True, colons=False)


def test_brackets_of_an_address_are_known_from_brackets_of_a_recipe() -> None:
    address, port = "\ue000address=0:\ue001", "\ue000rendezvous_port\ue001"
    (made,) = builder.template(f"x '[{address}]:{port} [{address}]:80'", shell=True, colons=True)
    value = {"v": "address", "n": 0}
    assert made == ["x ", {"q": [{"endpoint": [value, {"v": "rendezvous_port"}]}, " [", value, "]:80"]}]


# --- the page


@pytest.fixture
def opened(browser: Browser) -> Iterator[tuple[Page, str]]:
    """The form alone, as the site's page has it, and its address."""
    with support.serving(DOCS / "assets") as url:
        context = browser.new_context(accept_downloads=True, viewport={"width": 390, "height": 844})
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        page = context.new_page()
        problems: list[str] = []
        page.on("pageerror", lambda problem: problems.append(str(problem)))
        html = '<!doctype html><div id="builder-page"></div><script type="module" src="/tools/builder.js"></script>'
        page.route("**/form", lambda route: route.fulfill(body=html, content_type="text/html"))
        page.goto(f"{url}/form")
        page.wait_for_selector("form.builder__form")
        yield page, f"{url}/form"
        assert problems == []
        context.close()


def shown(page: Page, name: str) -> str:
    return page.locator(f'section[aria-label="{name}"] pre').text_content() or ""


def test_the_form_makes_the_commands(opened: tuple[Page, str]) -> None:
    page, url = opened
    plan = check(DEFAULT_RECIPE, DEFAULT_CLUSTER).plan()
    assert shown(page, "rank0.sh") == files(plan, next(iter(SCRIPT_TARGETS)))["rank0.sh"]

    page.get_by_label("Target").select_option("docker")
    page.get_by_label("Name", exact=True).fill("lab-4x")
    page.get_by_label("Rank 0, the head: address").fill("fd00::10")
    page.get_by_label("Checkpoint's folder").fill("/models/it's, mine")
    own = page.get_by_role("group", name="Rank 2")
    own.get_by_text("An interface or devices of its own").click()
    own.get_by_label("RDMA devices").fill("mlx5_0 mlx5_1")
    cluster = example() | {"name": "lab-4x", "model_path": "/models/it's, mine"}
    cluster["nodes"][0]["address"] = "fd00::10"
    cluster["nodes"][2]["rdma_devices"] = ["mlx5_0", "mlx5_1"]
    case = (DEFAULT_RECIPE, plan.release, "docker", cluster)
    wanted = files(python_says(case).plan(), "docker")
    assert {name: shown(page, name) for name in wanted} == wanted
    assert parse_document(shown(page, "lab-4x.yaml").encode(), "x.yaml").value == cluster

    # The address alone brings all of it back, in a page that knew nothing.
    address = page.url
    page.goto("about:blank")
    page.goto(address)
    page.wait_for_selector("form.builder__form")
    assert {name: shown(page, name) for name in wanted} == wanted
    assert page.get_by_label("Rank 0, the head: address").input_value() == "fd00::10"
    # The link to a heading is no state, and the button brings the example back.
    page.evaluate("location.hash = 'next'")
    assert shown(page, "rank0.sh") == wanted["rank0.sh"]
    page.get_by_role("button", name="Back to the example").click()
    assert page.url == url
    assert shown(page, "rank0.sh") == files(plan, next(iter(SCRIPT_TARGETS)))["rank0.sh"]


def test_copy_and_download(opened: tuple[Page, str]) -> None:
    page, _ = opened
    text = shown(page, "rank1.sh")
    page.get_by_role("button", name="Copy rank1.sh").click()
    page.wait_for_function("document.querySelector('[role=status]').textContent === 'rank1.sh is copied.'")
    assert page.evaluate("navigator.clipboard.readText()") == text
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download rank1.sh").click()
    assert waiting.value.suggested_filename == "rank1.sh"
    assert waiting.value.path().read_text(encoding="utf-8") == text


def test_a_wrong_value_is_told_at_its_field_and_hides_the_commands(opened: tuple[Page, str]) -> None:
    page, _ = opened
    field = page.get_by_label("Rank 3: address")
    field.fill("192.168.100.999")
    error = page.locator("#builder-nodes-3-address-error")
    assert error.text_content() == DATA["helps"]["address"].replace("`", "")
    assert field.get_attribute("aria-invalid") == "true"
    assert "builder-nodes-3-address-error" in (field.get_attribute("aria-describedby") or "")
    assert page.get_by_role("status").text_content() == "Correct this, and the commands appear: rank 3: Address."
    assert not page.locator(".builder__output").is_visible()
    field.fill("192.168.100.10")
    assert error.text_content() == DATA["helps"]["repeated"]
    field.fill("192.168.100.14")
    assert error.text_content() == ""
    assert field.get_attribute("aria-invalid") == "false"
    assert "192.168.100.14" in shown(page, "rank3.sh")
    page.get_by_label("Port to serve on").fill("29500")
    assert "rendezvous port" in (page.locator("#builder-serve-port-error").text_content() or "")


def test_another_recipe_brings_its_releases(opened: tuple[Page, str]) -> None:
    page, _ = opened
    for recipe in OFFERED:
        page.get_by_label("Recipe").select_option(recipe)
        offered = page.get_by_label("SGLang release").locator("option").evaluate_all("all => all.map(o => o.value)")
        assert [(recipe, release) for release in offered] == [choice for choice in CHOICES if choice[0] == recipe]
        for release in offered:
            page.get_by_label("SGLang release").select_option(release)
            assert f"# Recipe {recipe}, cluster example-4x-gb10, SGLang {release}.\n" in shown(page, "rank0.sh")


def test_it_works_without_a_mouse(opened: tuple[Page, str]) -> None:
    page, _ = opened
    page.get_by_label("Recipe").focus()
    seen = []
    for _ in range(40):
        seen.append(page.evaluate("document.activeElement.name || document.activeElement.textContent"))
        page.keyboard.press("Tab")
    order = [name for name in seen if name in ("recipe", "target", "nodes.0.address", "serve.port", "Copy", "Download")]
    assert order[:6] == ["recipe", "target", "nodes.0.address", "serve.port", "Copy", "Download"]


def test_a_link_from_somewhere_else_is_no_trap(opened: tuple[Page, str]) -> None:
    page, url = opened
    page.goto("about:blank")
    page.goto(f"{url}#recipe=nothing&release=9&target=rm&name=%3Cimg%20src%3Dx%3E&__proto__=1&nodes.0.address=%3Cb%3E")
    page.wait_for_selector("form.builder__form")
    assert page.get_by_label("Recipe").input_value() == DEFAULT_RECIPE
    assert page.get_by_label("Target").input_value() in SCRIPT_TARGETS
    assert page.get_by_label("Name", exact=True).input_value() == "<img src=x>"
    assert page.locator("img").count() == 0
    assert not page.locator(".builder__output").is_visible()
    # A name that every object has is no target.
    page.evaluate("location.hash = 'recipe=constructor&target=constructor'")
    page.wait_for_selector('section[aria-label="rank0.sh"]')


def test_other_targets_are_named_with_their_command(opened: tuple[Page, str], tmp_path: Path) -> None:
    page, _ = opened
    section = page.locator("section[aria-label='commands']")
    text = section.locator("pre").text_content() or ""
    lines = text.split("\n")
    others = [target for target in TARGETS if target not in SCRIPT_TARGETS]
    assert len(lines) == len(others)
    start = f"python scripts/gen_launch.py {DEFAULT_RECIPE} --cluster {DEFAULT_CLUSTER}.yaml"
    for line, target in zip(lines, others, strict=True):
        assert line == f"{start} --target {target} --out {target}"
        assert TARGETS[target] in (section.text_content() or "")
    assert section.get_by_role("button", name="Download commands").count() == 0
    release = next(release for recipe, release in CHOICES if recipe == DEFAULT_RECIPE and release != OWN)
    page.get_by_label("SGLang release").select_option(release)
    first, second, *_ = (section.locator("pre").text_content() or "").split("\n")
    assert first == f"python scripts/compare_releases.py {DEFAULT_RECIPE} --to {release} --write next-recipe.yaml"
    assert second.startswith("python scripts/gen_launch.py ./next-recipe.yaml --cluster ")
    # The commands are real ones: they write what the last of them would start.
    shutil.copy(CLUSTERS / f"{DEFAULT_CLUSTER}.yaml", tmp_path)
    words = lines[0].split()
    done = subprocess.run(
        [sys.executable, str(ROOT / words[1]), *words[2:]], cwd=tmp_path, capture_output=True, check=False
    )
    assert done.returncode == 0
    assert (tmp_path / others[0] / "README.md").is_file()
