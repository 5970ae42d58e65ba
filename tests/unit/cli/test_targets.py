"""From what is typed to an entry."""

from __future__ import annotations

from pathlib import Path

import pytest

from madang.cli.targets import (
    Target,
    find_target,
    inherited,
    name_of,
    ports_of,
    size_bytes,
    span_s,
)
from madang.cluster.checks import NAME, RESERVED
from madang.core.errors import SettingsError


@pytest.mark.parametrize(
    ("word", "module", "program", "expected"),
    [
        ("shop.web:app", None, [], Target("asgi", "shop.web:app")),
        ("main.py:app", None, [], Target("asgi", "main.py:app")),
        ("main.py", None, ["-q"], Target("python", "main.py", ("-q",))),
        (None, "jobs.mail", ["-q"], Target("python", "-m jobs.mail", ("-q",))),
        ("word", "jobs.mail", [], Target("python", "-m jobs.mail", ("word",))),
        (None, None, ["sh", "-c", "x"], Target("command", "sh", ("-c", "x"))),
        ("sh", None, ["-c", "x"], Target("command", "sh", ("-c", "x"))),
    ],
)
def test_the_look_of_a_word_says_what_it_is(
    tmp_path: Path,
    word: str | None,
    module: str | None,
    program: list[str],
    expected: Target,
) -> None:
    (tmp_path / "main.py").touch()
    assert find_target(word, module, program, tmp_path) == expected


def test_a_program_here_is_named_with_what_to_do(tmp_path: Path) -> None:
    file = tmp_path / "job.sh"
    file.touch(0o755)
    mean = r"did you mean \./job\.sh\?"
    with pytest.raises(SettingsError, match=mean):
        find_target("job.sh", None, [], tmp_path)
    with pytest.raises(SettingsError, match=mean):
        find_target(None, None, ["job.sh"], tmp_path)
    assert find_target("./job.sh", None, [], tmp_path) == Target("command", "./job.sh")
    file.chmod(0o644)
    for word in ("job.sh", "./job.sh"):
        with pytest.raises(SettingsError, match=r"\./job\.sh is not executable: `chmod \+x"):
            find_target(word, None, [], tmp_path)
    with pytest.raises(SettingsError, match="there is no such program"):
        find_target("nowhere.sh", None, [], tmp_path)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("srv.js", "`madang start -- node srv.js`"),
        ("./srv.mjs", "`madang start -- node ./srv.mjs`"),
        ("srv.ts", "`madang start -- node srv.ts`"),
        ("job.rb", "`madang start -- ruby job.rb`"),
        ("job.php", "`madang start -- php job.php`"),
        ("job.pl", "`madang start -- perl job.pl`"),
        ("job.sh", "`chmod +x ./job.sh`, or name what runs it: `madang start -- sh job.sh`"),
        ("my app.jar", "`madang start -- java -jar 'my app.jar'`"),
        ("job", "`chmod +x ./job`, or name what runs it: `madang start -- INTERPRETER job`"),
    ],
)
def test_what_is_not_executable_is_named_with_what_runs_it(
    tmp_path: Path, name: str, remedy: str
) -> None:
    (tmp_path / name).touch(0o644)
    with pytest.raises(SettingsError, match="is not executable") as refused:
        find_target(name, None, [], tmp_path)
    assert refused.value.message.endswith(remedy)
    assert ("chmod" in refused.value.message) is ("chmod" in remedy or name in ("job.rb", "job.pl"))


@pytest.mark.parametrize(
    ("target", "name"),
    [
        (Target("asgi", "app:app"), "app"),
        (Target("asgi", "shop.web:app"), "web"),
        (Target("asgi", "some/main.py:app"), "main"),
        (Target("python", "../My Worker.py"), "my-worker"),
        (Target("python", "-m jobs.mail"), "mail"),
        (Target("command", "/usr/bin/redis-server"), "redis-server"),
        (Target("command", "./7z"), "z"),
        (Target("command", "./한글"), "app"),
        (Target("python", "all.py"), "all-app"),
        (Target("python", "a" * 60 + ".py"), "a" * 32),
    ],
)
def test_a_name_is_made_that_can_be_used(target: Target, name: str) -> None:
    assert name_of(target) == name
    assert NAME.fullmatch(name)
    assert name not in RESERVED


def test_only_an_asgi_application_has_a_port_unasked() -> None:
    assert ports_of("python", "mail", None, None, inherit=False) == []
    served = ports_of("asgi", "web", None, None, inherit=False)
    assert served == [{"name": "web", "host": "127.0.0.1", "port": 8000, "inherit": True}]
    assert ports_of("command", "x", None, 9000, inherit=False)[0]["inherit"] is False
    assert ports_of("command", "x", None, 9000, inherit=True)[0]["inherit"] is True


def test_the_environment_goes_along_without_what_is_of_a_terminal_or_process() -> None:
    here = {
        "PATH": "/bin", "DATABASE": "x", "TERM": "xterm", "SSH_TTY": "/dev/pts/1", "PWD": "/",
        "NOTIFY_SOCKET": "/run/x", "LISTEN_FDS": "1", "MADANG_NAME": "other-0", "PORT": "3000",
    }  # fmt: skip
    assert inherited(here, has_port=True) == {"PATH": "/bin", "DATABASE": "x"}
    assert inherited(here, has_port=False)["PORT"] == "3000"


def test_sizes_and_times_have_units() -> None:
    assert [size_bytes(t, "") for t in ("300", "2k", "300M", "1G", "1 GiB")] == [
        300, 2048, 314_572_800, 1_073_741_824, 1_073_741_824,
    ]  # fmt: skip
    assert [span_s(t, "") for t in ("90", "90s", "10m", "12h", "2d")] == [
        90,
        90,
        600,
        43_200,
        172_800,
    ]
    for text in ("", "M", "-1M", "1.5G", "1T"):
        with pytest.raises(SettingsError):
            size_bytes(text, "--memory-max")
    for text in ("", "h", "-1h", "1.5h", "1w"):
        with pytest.raises(SettingsError):
            span_s(text, "--age-max")
