"""`madang start`, as a person types it, with real processes."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from tests.e2e.cluster_harness import until
from tests.e2e.command_harness import MADANG, Terminal, free_port, get, terminal


@pytest.fixture
def shell() -> Iterator[Terminal]:
    with terminal() as typing:
        yield typing


def test_an_asgi_application_is_served_when_the_command_returns(shell: Terminal) -> None:
    port = free_port()
    done = shell.good("start", "hello:app", "-i", "2", "--port", str(port))
    assert get(port).startswith("one ")
    assert f"hello listens on 127.0.0.1:{port}" in done.out
    rows = shell.rows()
    assert {name: row["state"] for name, row in rows.items()} == {
        "hello-0": "ready",
        "hello-1": "ready",
    }
    assert "hello-0  ready" in shell.good("ls").out
    assert "stopped" in shell.good("stop").out
    assert shell.living() == []
    assert get(port) == ""


def test_the_line_of_the_benchmarks_starts_reloads_and_ends_everything(shell: Terminal) -> None:
    port, state = free_port(), str(shell.folder / "state")
    where = ("--port", str(port), "--host", "127.0.0.1", "--directory", str(shell.folder))
    shell.good("start", "hello:app", "--name", "hello", "-i", "2", *where, "--state", state)
    shell.write("hello.py", (shell.folder / "hello.py").read_text().replace("one", "two"))
    shell.good("reload", "hello", "--state", state)
    assert get(port).startswith("two ")
    shell.good("stop", "--state", state)
    assert shell.living() == []


def test_a_program_gets_arguments_environment_and_directory(shell: Terminal) -> None:
    (shell.folder / "elsewhere").mkdir()
    words = ("start", "echo.py", "--name", "mail", "--env", "COLOUR=green", "first")
    shell.good(*words, "--", "--second", COLOUR="red")
    shell.until_said("mail", f"begins ['first', '--second'] green {shell.folder}")
    place = ("--name", "there", "--directory", "elsewhere")
    shell.good("start", "../echo.py", *place, COLOUR="red")
    shell.until_said("there", f"begins [] red {shell.folder}/elsewhere")


def test_bytes_that_are_no_text_reach_the_program_and_come_back_as_they_were(
    shell: Terminal,
) -> None:
    shell.write(
        "raw.py",
        "import os, sys, time\n"
        "names = (b'INHERITED', b'GIVEN')\n"
        "print(os.fsencode(sys.argv[1]), *map(os.environb.get, names), flush=True)\n"
        "print('heard', os.read(0, 99), flush=True)\n"
        "time.sleep(99)\n",
    )
    odd = os.fsdecode(b"\xff\xc3")
    words = ("start", "raw.py", "--json", "-e", f"GIVEN=b{odd}", "--", f"c{odd}")
    shell.good(*words, INHERITED=f"a{odd}")
    shell.until_said("raw", r"b'c\xff\xc3' b'a\xff\xc3' b'b\xff\xc3'")
    shell.good("send", "raw", odd)
    shell.until_said("raw", r"heard b'\xff\xc3\n'")
    shown = subprocess.run(
        [*MADANG, "env", "raw-0"], cwd=shell.folder, env=shell.environment, capture_output=True,
        check=True,
    )  # fmt: skip
    assert b"\nGIVEN=b\xff\xc3\n" in shown.stdout
    assert shell.good("env", "raw-0", "--json").json["environment"]["GIVEN"] == f"b{odd}"
    shell.good("save")
    shell.kill_supervisor()
    shell.good("flush")
    shell.good("resurrect")
    shell.until_said("raw", r"b'c\xff\xc3' b'a\xff\xc3' b'b\xff\xc3'")


def test_modules_and_commands_start_as_they_are_written(shell: Terminal) -> None:
    shell.good("start", "-m", "echo", "--name", "module", "--", "-x")
    shell.until_said("module", "begins ['-x']")
    shell.good(
        "start", "--name", "shell", "--", "/bin/sh", "-c", "echo $0 $1; sleep 99", "a", "--b"
    )
    shell.until_said("shell", "a --b")
    assert shell.rows()["shell-0"]["kind"] == "command"


def test_each_instance_of_a_program_has_a_port_of_its_own(shell: Terminal) -> None:
    shell.good(
        *("start", "--name", "many", "-i", "2", "--port", "20100", "--"),
        *("/bin/sh", "-c", "echo port $PORT; exec sleep 99"),
    )
    shell.until_said("many", "many-0 | port 20100")
    shell.until_said("many", "many-1 | port 20101")


def test_what_does_not_start_says_why_at_once_and_ls_goes_on_saying_it(shell: Terminal) -> None:
    shell.write("broken.py", "import a_module_that_is_not_there\napp = None\n")
    began = time.monotonic()
    assert shell.run("start", "broken:app", "--port", str(free_port())).code == 1
    assert time.monotonic() - began < 20  # not after the last of its restarts, minutes later
    words = ("start", "broken:app", "--max-restarts", "1", "--port", str(free_port()))
    done = shell.run(*words)
    assert done.code == 1
    assert "a_module_that_is_not_there" in done.err
    assert "broken: 0 of 1 instances are ready" in shell.good("ls").out
    until(lambda: shell.rows()["broken-0"]["state"] == "errored")
    assert "broken-0 | " in shell.good("ls").out
    shell.write("broken.py", (shell.folder / "hello.py").read_text())
    shell.good(*words)  # takes the place of the other


def test_a_program_that_ends_at_once_has_not_been_started(shell: Terminal) -> None:
    done = shell.run("start", "--name", "short", "--", "/bin/sh", "-c", "echo so long; exit 3")
    assert done.code == 1
    assert "exit 3" in done.err
    assert "so long" in done.err
    words = ("start", "--name", "errored", "--max-restarts", "1", "--")
    assert shell.run(*words, "/bin/sh", "-c", "echo last words; exit 4").code == 1
    until(lambda: shell.rows()["errored-0"]["state"] == "errored")
    assert "errored-0 | last words" in shell.good("ls").out


def test_a_refused_start_leaves_no_supervisor_that_it_began(shell: Terminal) -> None:
    port = str(free_port())
    for words in (("--name", "BAD"), ("--ready", "htp://x")):
        assert shell.run("start", "hello:app", *words, "--port", port).code == 1
        assert shell.run("ls").code == 3
        assert shell.living() == []
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = f'target = "hello:app"\nport = {holder.getsockname()[1]}'
        shell.write("madang.toml", f"[app.web]\n{taken}\n")
        assert shell.run("start", "--json").code == 1
        assert shell.run("ls").code == 3
    (shell.folder / "madang.toml").unlink()
    shell.good("start", "echo.py")  # what runs already stays, whatever is refused beside it
    assert shell.run("start", "hello:app", "--name", "BAD", "--port", port).code == 1
    assert list(shell.rows()) == ["echo-0"]


def test_what_failed_stays_listed_until_the_next_can_be_tried(shell: Terminal) -> None:
    words = ("--name", "short", "--max-restarts", "1", "--", "/bin/sh", "-c", "exit 3")
    assert shell.run("start", *words).code == 1
    until(lambda: shell.rows()["short-0"]["state"] == "errored")
    done = shell.run("start", "echo.py", "--name", "short", "--ready", "htp://x")
    assert (done.code, "short.ready" in done.err) == (1, True), done
    assert shell.rows()["short-0"]["state"] == "errored"


def test_a_program_that_ends_well_is_told_to_stay(shell: Terminal) -> None:
    done = shell.run("start", "--name", "short", "--", "/bin/sh", "-c", "exit 0")
    assert done.code == 1
    assert "exit 0; a service must stay in the foreground" in done.err


WRONG = (
    (("start",), 2, "expected what to start"),
    (("start", "nowhere.py"), 1, "there is no such file"),
    (("start", "nowhere.py:app"), 1, "there is no such file"),
    (("start", "--", "./nowhere"), 1, "there is no such program"),
    (("start", "echo.py", "-i", "many"), 1, "expected a number, max, 0, -1 or auto:1-8"),
    (("start", "echo.py", "--memory-max", "lots"), 1, "expected a size like 300M"),
    (("start", "echo.py", "--age-max", "old"), 1, "expected a time like 12h"),
    (("start", "echo.py", "--env", "=x"), 1, "expected NAME=VALUE"),
    (("start", "echo.py", "--name", "all"), 1, "is a word of ours"),
    (("start", "echo.py", "--kind", "thing"), 1, "expected one of role"),
    (("start", "echo.py", "--cron", "soon"), 1, "expected a cron expression"),
    (("start", "echo.py", "--user", "nobody-of-that-name"), 1, "there is no user"),
    (("start", "echo.py", "--port", "99999"), 2, "Usage"),
    (("start", "--wrong"), 2, "Usage"),
)


def test_wrong_input_is_named(shell: Terminal) -> None:
    for words, code, said in WRONG:
        done = shell.run(*words)
        assert (done.code, said in done.err) == (code, True), (words, done)


def test_wrong_input_is_json_where_that_is_wanted(shell: Terminal) -> None:
    done = shell.run("start", "nowhere.py", "--json")
    assert (done.code, "no such file" in done.json["error"]) == (1, True)


def test_a_name_that_runs_and_a_port_that_is_taken_are_refused(shell: Terminal) -> None:
    port = free_port()
    shell.good("start", "hello:app", "--port", str(port))
    done = shell.run("start", "hello:app", "--port", str(free_port()))
    assert done.code == 1
    assert "madang reload hello" in done.err
    done = shell.run("start", "hello:app", "--name", "other", "--port", str(port))
    assert done.code == 1
    assert f"127.0.0.1:{port} belongs to hello" in done.err
    assert list(shell.rows()) == ["hello-0"]


def test_two_starts_at_once_share_one_supervisor(shell: Terminal) -> None:
    started = [
        subprocess.Popen(
            [*MADANG, "start", "echo.py", "--name", f"echo{index}"],
            cwd=shell.folder,
            env=shell.environment,
            stdout=subprocess.DEVNULL,
        )
        for index in range(4)
    ]
    assert [process.wait(60) for process in started] == [0] * 4
    assert sorted(shell.rows()) == ["echo0-0", "echo1-0", "echo2-0", "echo3-0"]


def test_the_foreground_ends_with_its_signal_and_takes_no_held_folder(shell: Terminal) -> None:
    words = [*MADANG, "start", "hello:app", "--foreground", "--port", str(free_port())]
    process = subprocess.Popen(
        words, cwd=shell.folder, env=shell.environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "hello is up\n"
    second = subprocess.run(
        [*MADANG, "start", "hello:app", "--foreground", "--port", str(free_port())],
        cwd=shell.folder, env=shell.environment, capture_output=True, text=True, check=False,
        timeout=60,
    )  # fmt: skip
    assert second.returncode == 1
    assert "held by another running supervisor" in second.stderr
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    process.stdout.close()


def test_a_supervisor_that_hangs_is_named_and_not_joined_by_another(shell: Terminal) -> None:
    shell.good("start", "echo.py")
    supervisor = shell.good("ls", "--json").json["supervisor"]
    os.kill(supervisor, signal.SIGSTOP)
    try:
        done = shell.run("ls")
        assert done.code == 1
        assert "did not answer in time" in done.err
    finally:
        os.kill(supervisor, signal.SIGCONT)


def test_what_a_killed_supervisor_left_is_taken_over_by_the_next(shell: Terminal) -> None:
    shell.good("start", "echo.py")
    shell.kill_supervisor()
    assert shell.run("ls").code == 3
    shell.good("start", "echo.py")
    assert list(shell.rows()) == ["echo-0"]


def test_a_settings_file_describes_several(shell: Terminal) -> None:
    port = free_port()
    shell.write(
        "madang.toml",
        f"""
[app.web]
target = "hello:app"
instances = 2
port = {port}

[app.mail]
target = "echo.py"
arguments = ["--queue"]
env = {{ COLOUR = "blue" }}
memory_max = "300M"

[app.tick]
program = ["/bin/sh", "-c", "echo tick; exec sleep 99"]
""",
    )
    shell.good("start")
    assert get(port).startswith("one ")
    assert sorted(shell.rows()) == ["mail-0", "tick-0", "web-0", "web-1"]
    shell.until_said("mail", "begins ['--queue'] blue")
    assert "runs already" in shell.good("start").out
    shell.good("delete", "tick")
    shell.good("start")
    assert sorted(shell.rows()) == ["mail-0", "tick-0", "web-0", "web-1"]


def test_one_refused_application_of_a_file_does_not_keep_the_others_down(shell: Terminal) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = f'target = "hello:app"\nport = {holder.getsockname()[1]}'
        free = f'target = "hello:app"\nport = {free_port()}'
        shell.write("madang.toml", f"[app.web]\n{taken}\n[app.mail]\n{free}\n")
        done = shell.run("start", "--json")
        assert done.code == 1
        web, mail = done.json["operations"]
        assert (web["name"], web["state"]) == ("web", "failed")
        assert "in use" in web["reason"]
        assert (mail["name"], mail["state"]) == ("mail", "done")
        shell.good("delete", "mail")
        done = shell.run("start")
        assert (done.code, "start web: failed: " in done.err) == (1, True), done
        assert "start mail: done" in done.out
        assert list(shell.rows()) == ["mail-0"]
    shell.good("start")
    assert sorted(shell.rows()) == ["mail-0", "web-0"]


def test_changed_settings_of_what_runs_are_named(shell: Terminal) -> None:
    mail = '[app.mail]\ntarget = "echo.py"\narguments = ["--queue"]\nenv = { COLOUR = "blue" }\n'
    web = f'[app.web]\ntarget = "hello:app"\nport = {free_port()}\n'
    shell.write("madang.toml", mail + web)
    shell.good("start")
    shell.good("scale", "web", "2")  # no setting of the file
    assert "everything runs already" in shell.good("start").out
    before = shell.pids()
    other = mail.replace("--queue", "--all").replace("blue", "a-secret")
    shell.write("madang.toml", f"{other}{web}instances = 3\n")
    done = shell.run("start")
    assert (done.code, done.out) == (1, "")
    assert (
        "start mail: failed: runs with other settings (arguments, environment.COLOUR)" in done.err
    )
    assert "(instances): `madang delete web`, then `madang start`" in done.err
    assert "secret" not in done.err
    operations = shell.run("start", "--json").json["operations"]
    assert [(o["name"], o["state"]) for o in operations] == [("mail", "failed"), ("web", "failed")]
    assert shell.pids() == before
    shell.good("delete", "mail")
    shell.write("madang.toml", other + web)
    shell.good("start")
    shell.until_said("mail", "begins ['--all'] a-secret")


WRONG_TABLES = (
    ("target = 3", "[app.web]"),
    ('target = "echo.py"\ninstances = "many"', "expected a number, max"),
    ('target = "echo.py"\ncolour = 1', "[app.web] colour"),
    ('target = "echo.py"\ninstnaces = 2', "[app.web] instnaces: is no key of an application; did"),
    ('target = "echo.py"\nmemory_max = "lots"', "expected a size like 300M"),
    ("instances = 1", "expected target, module or program"),
)


def test_a_wrong_table_is_named(shell: Terminal) -> None:
    for line, said in WRONG_TABLES:
        shell.write("madang.toml", f"[app.web]\n{line}\n")
        done = shell.run("start")
        assert (done.code, "madang.toml" in done.err, said in done.err) == (1, True, True), done


def test_the_supervisor_outlives_the_terminal_it_was_started_from(shell: Terminal) -> None:
    code = "import pty, subprocess, sys; pty.spawn(sys.argv[1:])"
    subprocess.run(
        [sys.executable, "-c", code, *MADANG, "start", "echo.py"],
        cwd=shell.folder, env=shell.environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, check=False, timeout=60,
    )  # fmt: skip
    assert shell.rows()["echo-0"]["state"] == "ready"


def test_the_demo_runs_in_the_background(shell: Terminal) -> None:
    done = shell.good("start", "--demo", "--port", "0")
    assert "sign in   demo / " in done.out
    address = done.out.partition("address   http://127.0.0.1:")[2].split()[0]
    assert "<html" in get(int(address)).lower()
    assert {row["state"] for row in shell.rows().values()} == {"ready"}
    assert "runs already" in shell.good("start", "--demo").out
    assert shell.good("start", "--demo", "--json").json["operations"] == []
    names = {row["app"] for row in shell.rows().values()}
    assert names == {"venue", "ledger", "feed", "worker", "traders"}


def test_up_runs_what_the_settings_describe_in_the_foreground(shell: Terminal) -> None:
    port = free_port()
    shell.write("madang.toml", f'[app.web]\ntarget = "hello:app"\nport = {port}\n')
    process = subprocess.Popen(
        [*MADANG, "up"], cwd=shell.folder, env=shell.environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert "is up: web" in process.stdout.readline()
    assert get(port).startswith("one ")
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    process.stdout.close()


def test_what_the_first_start_had_in_its_environment_the_next_has_not(shell: Terminal) -> None:
    port = free_port()
    shell.good("start", "echo.py", "--name", "first", "SECRET", COLOUR="red")
    shell.until_said("first", "begins ['SECRET'] red")
    shell.good("start", "echo.py", "--name", "second")
    shell.until_said("second", "begins [] None")
    shell.good("start", "hello:app", "--port", str(port), TASTE="sweet")
    assert "TASTE=sweet" in shell.good("env", "hello-0").out
    assert "COLOUR" not in shell.good("env", "hello-0").out
    shell.good("save")
    shell.good("stop")
    shell.good("resurrect")
    until(lambda: shell.logs("first").count("begins ['SECRET'] red") == 2)
    until(lambda: shell.logs("second").count("begins [] None") == 2)


def test_a_reload_finds_what_a_link_leads_to_by_then(shell: Terminal) -> None:
    """The usual deploy: a folder for each release, and a link `current` that is moved."""
    home, port = shell.folder, free_port()
    hello = (home / "hello.py").read_text()
    for release in ("one", "two"):
        (home / release).mkdir()
        (home / release / "hello.py").write_text(hello.replace("one", release))
    link = home / "current"
    link.symlink_to("one")
    where = {"PWD": str(link)}
    shell.folder = link
    shell.good("start", "hello:app", "--port", str(port), "--state", str(home / ".madang"), **where)
    shell.folder = home
    assert get(port).startswith("one ")
    (home / "next").symlink_to("two")
    (home / "next").rename(link)
    shutil.rmtree(home / "one")
    shell.good("reload", "hello")
    assert get(port).startswith("two ")
    shell.good("restart", "hello")
    assert get(port).startswith("two ")
