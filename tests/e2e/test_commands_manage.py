"""Every command on what runs, as a person types it, wrong input included."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from madang.cli import program
from tests.e2e.cluster_harness import until
from tests.e2e.command_harness import MADANG, Terminal, free_port, get, terminal


@pytest.fixture
def shell() -> Iterator[Terminal]:
    with terminal() as typing:
        yield typing


@pytest.fixture
def web(shell: Terminal) -> int:
    """Start two instances of the hello server and return their port."""
    port = free_port()
    shell.good("start", "hello:app", "--name", "web", "-i", "2", "--port", str(port))
    return port


def test_stop_leaves_it_listed_and_start_brings_it_back(shell: Terminal, web: int) -> None:
    assert "stop web: done" in shell.good("stop", "web").out
    assert [(r["state"], r["status"]) for r in shell.rows().values()] == [("stopped", "")] * 2
    (line,) = (line.split() for line in shell.good("ls").out.splitlines() if "web-0" in line)
    assert line[:6] == ["web-0", "stopped", "-", "1", "-", "0"]
    assert get(web) == ""
    shell.good("start", "web")
    assert get(web).startswith("one ")
    shell.good("stop", "web-1")
    assert shell.rows()["web-1"]["state"] == "stopped"
    assert get(web).startswith("one ")
    shell.good("start", "web-1")
    assert shell.rows()["web-1"]["state"] == "ready"


def test_start_takes_several_names_and_all_as_the_other_commands_do(shell: Terminal) -> None:
    assert shell.run("start", "all").code == 3
    for name in ("first", "second", "third"):
        shell.good("start", "echo.py", "--name", name)
    running = shell.pids()["third-0"]
    assert "nothing is at rest" in shell.good("start", "all").out
    shell.good("stop", "first", "second")
    done = shell.good("start", "first", "second")
    assert ("start first: done" in done.out, "start second: done" in done.out) == (True, True)
    shell.good("stop", "first", "second")
    operations = shell.good("start", "all", "--json").json["operations"]
    assert [(o["name"], o["state"]) for o in operations] == [("first", "done"), ("second", "done")]
    assert len(shell.pids()) == 3
    assert shell.pids()["third-0"] == running
    done = shell.run("start", "first", "nobody")
    assert (done.code, "nobody: nothing of that name is listed" in done.err) == (1, True), done


def test_restart_and_reload_give_other_processes(shell: Terminal, web: int) -> None:
    before = shell.pids()
    shell.good("restart", "web-0")
    after = shell.pids()
    assert after["web-0"] != before["web-0"]
    assert after["web-1"] == before["web-1"]
    shell.write("hello.py", (shell.folder / "hello.py").read_text().replace("one", "two"))
    done = shell.good("reload", "all")
    assert "every new instance is ready" in done.out  # its progress, and then its end
    assert "reload web: done" in done.out
    assert get(web).startswith("two ")


def test_a_reload_of_broken_code_says_why_and_the_old_code_serves(
    shell: Terminal, web: int
) -> None:
    before = shell.pids()
    shell.write("hello.py", "raise RuntimeError('half a deploy')\n")
    done = shell.run("reload", "web")
    assert done.code == 1
    assert "half a deploy" in done.err
    assert shell.pids() == before
    assert get(web).startswith("one ")
    assert "web: the last reload failed" in shell.good("ls").out


@pytest.mark.parametrize("command", ["reload", "restart"])
def test_one_that_fails_does_not_keep_the_others_from_their_turn(
    shell: Terminal, command: str
) -> None:
    for name in ("first", "second"):
        shell.write(f"{name}.py", (shell.folder / "hello.py").read_text())
        shell.good("start", f"{name}:app", "--port", str(free_port()))
    before = shell.pids()
    shell.write("first.py", "raise RuntimeError('half a deploy')\n")
    done = shell.run(command, "all")
    assert done.code == 1
    assert f"{command} first: failed: " in done.err
    assert "half a deploy" in done.err
    assert f"{command} second: done" in done.out
    assert done.err.endswith(f"{command} all: failed: 1 of 2\n")
    assert shell.pids()["second-0"] != before["second-0"]
    done = shell.run(command, "all", "--json")
    (operation,) = done.json["operations"]
    ends = [(one["name"], one["state"]) for one in operation["outcomes"]]
    assert (done.code, operation["state"]) == (1, "failed")
    assert ends == [("first", "failed"), ("second", "done")]
    done = shell.run(command, "first", "nobody", "second", "--json")
    ends = [(one["name"], one["state"]) for one in done.json["operations"]]
    assert done.code == 1
    assert ends == [("first", "failed"), ("nobody", "failed"), ("second", "done")]


def test_scale_takes_numbers_and_differences(shell: Terminal, web: int) -> None:
    for word, count in (("3", 3), ("-1", 2), ("+2", 4), ("1", 1)):
        shell.good("scale", "web", word)
        assert len(shell.rows()) == count
        assert get(web).startswith("one ")
    for word in ("0x", "-9", "999", "many"):
        done = shell.run("scale", "web", word)
        assert (done.code, "expected" in done.err) == (1, True), done
    for word in ("0", "00"):
        done = shell.run("scale", "web", word)
        assert (done.code, "use `madang stop web`" in done.err) == (1, True), done
    assert len(shell.rows()) == 1


def test_no_application_is_named_as_an_instance_of_another(shell: Terminal, web: int) -> None:
    said = "web-0 is the name of an instance of web: choose another"
    done = shell.run("start", "echo.py", "--name", "web-0")
    assert (done.code, done.err.count(said)) == (1, 1), done
    assert "web-7 is the name" in shell.run("start", "echo.py", "--name", "web-7").err
    shell.good("start", "echo.py", "--name", "web-07")
    shell.good("delete", "web")
    shell.good("start", "echo.py", "--name", "web-0")
    done = shell.run("start", "echo.py", "--name", "web")
    assert (done.code, done.err.count(said)) == (1, 1), done
    assert sorted(shell.rows()) == ["web-0-0", "web-07-0"]


def test_delete_forgets(shell: Terminal, web: int) -> None:
    assert "only a whole application" in shell.run("delete", "web-0").err
    shell.good("delete", "web")
    assert shell.rows() == {}
    assert "nothing is started" in shell.good("ls").out
    assert get(web) == ""


def test_signal_send_env_and_reset_reach_the_process(shell: Terminal) -> None:
    shell.good("start", "echo.py", "--env", "COLOUR=green")
    pid = shell.pids()["echo-0"]
    shell.until_said("echo", "begins")
    assert str(pid) in shell.good("signal", "echo-0", "usr1").out
    shell.until_said("echo", "got USR1")
    shell.good("send", "echo", "two", "words")
    shell.until_said("echo", "heard two words")
    shell.good("send", "echo-0", typed="from a pipe\n")
    shell.until_said("echo", "heard from a pipe")
    assert "COLOUR=green\n" in shell.good("env", "echo-0").out
    assert "there is no signal" in shell.run("signal", "echo", "NONE").err
    os.kill(pid, 9)
    until(lambda: shell.rows()["echo-0"]["restarts"] == 1)
    assert "SIGKILL" in shell.good("describe", "echo-0").out
    assert shell.good("reset", "echo").out == "reset echo\n"
    assert shell.rows()["echo-0"]["restarts"] == 0


def test_what_is_sent_to_a_role_is_refused(shell: Terminal, web: int) -> None:
    done = shell.run("send", "web", "hello")
    assert (done.code, "reads no input: it is an ASGI application" in done.err) == (1, True)


def test_describe_shows_limits_and_hides_values(shell: Terminal) -> None:
    words = ("--memory-max", "300M", "--cron", "0 4 * * *", "--max-restarts", "7")
    shell.good("start", "echo.py", "--env", "TOKEN=a-secret", *words)
    text = shell.good("describe", "echo").out
    for word in ("TOKEN", "314572800", "0 4 * * *", "max_restarts           7", "echo-0"):
        assert word in text
    assert "a-secret" not in text
    assert "a-secret" not in shell.good("describe", "echo", "--json").out


def test_logs_and_flush_are_of_one_application(shell: Terminal) -> None:
    shell.good("start", "echo.py")
    shell.until_said("echo", "begins")
    assert "echo-0 | begins" in shell.good("logs", "echo").out
    assert shell.good("logs", "--instance", "echo-0", "--json").json["instance"] == "echo-0"
    assert shell.good("flush", "echo", "--json").json["bytes"] > 0
    assert "begins" not in shell.good("logs", "echo").out
    assert "no logs of nobody" in shell.run("logs", "nobody").err


def test_logs_of_what_has_not_written_anything_are_empty_and_can_be_followed(
    shell: Terminal,
) -> None:
    shell.write("quiet.py", "import sys\nfor line in sys.stdin: print(line, end='', flush=True)\n")
    shell.good("start", "quiet.py")
    for words in (("quiet",), ("quiet-0",), ("--app", "quiet", "--json")):
        assert shell.good("logs", *words).out == ""
    assert "no logs of nobody" in shell.run("logs", "nobody").err
    following = subprocess.Popen(
        [*MADANG, "logs", "quiet", "-f"], cwd=shell.folder, env=shell.environment,
        stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        shell.good("send", "quiet", "the first line")
        assert following.stdout is not None
        assert following.stdout.readline().endswith("quiet-0 | the first line\n")
    finally:
        following.kill()
        following.communicate()


NAMED = ("restart", "reload", "delete", "reset", "describe", "env")


def test_an_unknown_name_is_refused_with_those_that_there_are(shell: Terminal) -> None:
    shell.good("start", "echo.py")
    for command in (*NAMED, "stop"):
        done = shell.run(command, "nobody")
        assert (done.code, done.out) == (1, ""), (command, done)
        assert "there is no 'nobody' here; there is echo" in done.err
    assert "nobody" in shell.run("reload", "nobody", "--json").json["error"]


def test_where_nothing_runs_every_command_says_so(shell: Terminal) -> None:
    commands: list[tuple[str, ...]] = [(name, "web") for name in NAMED]
    commands += [("ls",), ("stop",), ("stop", "web"), ("save",), ("scale", "web", "2")]
    for words in [*commands, ("signal", "web", "USR1"), ("send", "web", "x")]:
        done = shell.run(*words)
        assert (done.code, "no Madang runs here" in done.err) == (3, True), (words, done)
    assert "no Madang runs here" in shell.run("reload", "web", "--json").json["error"]


def test_a_missing_name_is_wrong_usage(shell: Terminal) -> None:
    for command in (*NAMED, "scale", "signal", "send"):
        assert shell.run(command).code == 2, command


def test_wrong_usage_is_json_where_that_is_wanted(shell: Terminal) -> None:
    (shell.folder / ".madang" / "logs").mkdir(parents=True)
    for words, said in (
        (("start",), "expected what to start"),
        (("start", "--nonsense"), "--nonsense"),
        (("ls", "--nonsense"), "--nonsense"),
        (("reload",), "Missing argument"),
        (("logs", "--since", "yesterday"), "expected an age like 10m"),
    ):
        done = shell.run(*words, "--json")
        assert (done.code, said in done.json["error"], done.err) == (2, True, ""), (words, done)
    assert shell.run("reload").out == ""


def test_the_version_is_said_by_option_and_by_command(shell: Terminal) -> None:
    assert shell.good("version").out.startswith(shell.good("--version").out.strip() + ",")


def test_an_operation_answers_in_json(shell: Terminal) -> None:
    shell.good("start", "echo.py")
    for words in (("restart", "echo"), ("scale", "echo", "2"), ("delete", "echo")):
        operations = shell.good(*words, "--json").json["operations"]
        assert [(o["kind"], o["state"]) for o in operations] == [(words[0], "done")]


def test_every_command_has_help_with_an_example() -> None:
    program.add_market_commands()
    for command in program.app.registered_commands:
        name = command.name or getattr(command.callback, "__name__", "")
        words = " ".join((getattr(command.callback, "__doc__", "") or "").split())
        assert f"madang {name}" in words, name


def complete(shell: Terminal, *words: str) -> list[str]:
    """Return what the shell is offered after these words."""
    done = shell.run(
        _MADANG_COMPLETE="complete_bash",
        COMP_WORDS=" ".join(("madang", *words)),
        COMP_CWORD=str(len(words)),
    )
    return done.out.split()


def test_the_shell_completes_commands_names_and_signals(shell: Terminal, web: int) -> None:
    assert {"reload", "reset", "restart", "resurrect"} <= set(complete(shell, "re"))
    assert complete(shell, "reload", "w") == ["web", "web-0", "web-1"]
    assert complete(shell, "scale", "") == ["web"]
    assert complete(shell, "stop", "a") == ["all"]
    assert "USR1" in complete(shell, "signal", "web", "US")
    shell.good("stop")
    assert complete(shell, "reload", "w") == []
