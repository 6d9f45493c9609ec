"""Values that a start system's quoting can get wrong."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from mimo_gb10.plan import COMMAND, LaunchPlan, RankLaunch
from mimo_gb10.text.shell import is_shell_owned

any_text = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=40)
hostile = st.sampled_from(
    [
        "$(touch pwned)", "`id`", "; rm x", "a' b", 'a" b', "\\", "\\\n", "a\nexport B=1", "!!", "~", "*", "{1..3}",
        "${HOME}", "-n", "--", "", " ", "#x", "&&", "a=b", "\t", "é\u202e", "%s", "\x1b[31m", "'\\''",
        # Compose, Kubernetes and systemd: variables, specifiers, prefixes, ends of lines.
        "$", "$$", "$$$", "${A:-b}", "$HOME$", "$(A)", "$$(A)", "$(", "%", "%%", "%h", "%i%", "@x", "-x", "+x", "!x",
        ":x",
        ";", "\\x41", "\\n", "x\\", "a\\ b", "a\r\nb", "\u2028", "\x85", "\ufeff", " a ", '"', "'", "\u00a0",
        # YAML: what is not a string unless it is quoted.
        "no", "Yes", "null", "~", "1e3", "0x1f", "012", "1:30",
        "2026-01-01", ".nan", "<<", "=", "a: b", "- a", "[a", "&a", "*a", "? a", "|", ">",
        # Slurm and shells.
        "#SBATCH --x", "EOF", "$((1+1))", "\n#SBATCH -N 9\n", "a,b", "a=b,c=d", 'a"b,c', "{rank}", "{{x}}",
    ]
)  # fmt: skip
value = any_text | hostile
variable = st.from_regex(r"\A[A-Za-z_][A-Za-z0-9_]{0,12}\Z").filter(
    lambda name: not is_shell_owned(name) and not name.startswith(("PATH", "STUB_OUT", "LC_", "LD_"))
)
slow_process = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@st.composite
def plans(draw: st.DrawFn, ranks: int = 2) -> LaunchPlan:
    """A plan whose free text is as hostile as can be; names are what the config schemas let through."""
    launches = tuple(
        RankLaunch(
            rank,
            f"10.0.0.{rank}",
            {f"V_{name}": text for name, text in draw(st.dictionaries(variable, value, max_size=4)).items()},
            (*COMMAND, *draw(st.lists(value, max_size=5))),
        )
        for rank in range(ranks)
    )
    path, title = "/" + draw(value), draw(value)
    return LaunchPlan("some.recipe-1", title, "0.5.11", "image:tag", "some.cluster", path, launches, draw(_DEFECTS))


_DEFECTS = st.sampled_from([(), ("one-defect",)])
