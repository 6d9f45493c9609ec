"""Rules about who can reach the server, and with which key."""

from __future__ import annotations

from collections.abc import Iterator

from mimo_gb10.context import Context
from mimo_gb10.findings import Finding, error, warning
from mimo_gb10.names import EVERYWHERE
from mimo_gb10.passage import Passage
from mimo_gb10.rules.base import Rule

_KEYS = ("api-key", "admin-api-key", "ssl-keyfile-password")


class KeyOnCommandLine(Rule):
    """A key on the command line can be read by every user of the machine.

    The process list shows arguments. SGLang reads them also from a file: --config FILE.yaml, which only its owner
    need be able to read. No release from 0.5.11 to 0.5.23 takes the key from an environment variable.
    """

    code = "key-on-command-line"
    options = _KEYS
    passages = (Passage(("sglang/srt/server_args.py",), r'if "--config" in argv'),)

    def check(self, context: Context) -> Iterator[Finding]:
        """Any of the key flags."""
        for option in _KEYS:
            if context.is_given(option):
                yield error(
                    self.code,
                    f"{option} stands in the command, where every user of the machine can read it in the process list",
                    f"Put '{option}: ...' into a YAML file with mode 0600 on the head, and give --config FILE.",
                    context.flag_location(option),
                    self.source(context),
                )


class OpenWithoutKey(Rule):
    """A server on every interface without a key answers whoever reaches the node.

    0.0.0.0 includes the office network and Wi-Fi. The address of one interface, a firewall or a key narrows it.
    """

    code = "open-without-key"
    options = ("host", *_KEYS)

    def check(self, context: Context) -> Iterator[Finding]:
        """Every interface, no key, no file that could hold one."""
        if context.cluster.serve_host not in EVERYWHERE:
            return
        if any(context.is_given(option) for option in (*_KEYS, "config")):
            return
        yield warning(
            self.code,
            f"the server answers on every interface ({context.cluster.serve_host}) and no API key is set",
            "Set serve.host to one address of the head, keep the port behind a firewall, "
            "or give a key with --config FILE.",
            context.cluster.document.location(("serve", "host")),
            "",
        )
