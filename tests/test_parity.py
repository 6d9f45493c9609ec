"""gb10x4-post is the post: its flags parse to the same values and its environment is the post's, for every rank."""

from __future__ import annotations

import re
import shlex
from argparse import Namespace

import pytest

from mimo_gb10.launch import check
from mimo_gb10.paths import ROOT
from mimo_gb10.release import load_release
from tests.support.argparse_of import parser_of

ADDRESSES = ["192.168.100.10", "192.168.100.11", "192.168.100.12", "192.168.100.13"]
POST = (ROOT / "tests" / "data" / "post-launch.txt").read_text(encoding="utf-8")


def posted_env(rank: int) -> dict[str, str]:
    env = dict(re.findall(r"(?m)^([A-Z_0-9]+)=(.*)$", POST))
    return {name: ADDRESSES[rank] if value.startswith("<") else value for name, value in env.items()}


def posted_arguments(rank: int) -> list[str]:
    command = POST[POST.index("python3 -m") :]
    filled = command.replace("<0|1|2|3>", str(rank)).replace("<head-RDMA-IP>", ADDRESSES[0])
    return shlex.split(filled.replace("\\\n", " "))[3:]


def parse(arguments: list[str]) -> Namespace:
    return parser_of(load_release("0.5.11")).parse_args(arguments)


@pytest.mark.parametrize("rank", range(4))
def test_same_values_and_environment(rank: int) -> None:
    launch = check("gb10x4-post", "post-4x-gb10").plan().ranks[rank]
    assert parse(list(launch.argv[3:])) == parse(posted_arguments(rank))
    assert launch.env == posted_env(rank)
    assert launch.address == ADDRESSES[rank]


def test_the_parser_is_not_blind() -> None:
    arguments = posted_arguments(1)
    assert parse(arguments) != parse([*arguments, "--tp", "2"])
    assert parse(arguments) != parse(posted_arguments(2))
    assert vars(parse(arguments))["mem_fraction_static"] == 0.83


def test_findings_name_the_posts_mistakes() -> None:
    findings = check("gb10x4-post", "post-4x-gb10").findings
    found = {(finding.code, word) for finding in findings for word in finding.message.replace("'", " ").split()}
    for name in ("VLLM_HOST_IP", "TP_SOCKET_IFNAME", "TORCH_NUM_THREADS"):
        assert ("env-not-read", name) in found
    assert ("spec-variable-alone", "SGLANG_ENABLE_SPEC_V2") in found
    assert ("fabric-one-half", "roceP2p1s0f0") in found


def test_the_default_recipe_has_none_of_them() -> None:
    codes = {finding.code for finding in check("gb10x4-omni", "example-4x-gb10").findings}
    # What the release brings and what the example cluster chooses; nothing of the post's own mistakes.
    assert codes == {"nccl-deadlock", "torchcodec-aarch64", "open-without-key"}
