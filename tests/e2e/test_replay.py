"""`madang replay` on the real product: recorded flow makes the book that the file shows."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import running
from tests.support.data import data_file
from tests.support.venue_fixture import Venue, running_venue

SAMPLE = Path(__file__).parents[1] / "vectors" / "lobster" / "message_5.csv"
LIMIT_S = 120.0
SIMPLE = """\
time,action,id,side,price,quantity
0.0,place,1,buy,99.50,10
0.1,place,2,sell,100.50,10
0.2,place,3,buy,100.50,4
0.3,reduce,2,sell,100.50,2
0.4,cancel,1,buy,,
0.5,place,4,buy,99.00,1.5
0.6,cancel,77,buy,,
0.7,place,5,buy,99.005,1
"""


@pytest.fixture(scope="module")
def venue(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Venue]:
    with running_venue(tmp_path_factory.mktemp("venue"), "one") as product:
        yield product


def start_replay(venue: Venue, file: Path, *flags: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*running.MADANG, "replay", str(file), "--state", str(venue.state), *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def replay(venue: Venue, file: Path, *flags: str) -> str:
    process = start_replay(venue, file, *flags)
    out, said = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, out + said
    return out


def test_the_sample_pair_ends_in_the_book_it_shows(venue: Venue) -> None:
    out = replay(venue, SAMPLE, "--symbol", "SAMPLE", "--speed", "max")
    assert "SAMPLE (listed for this)" in out
    assert "events      600 of 600" in out
    assert "rejected    0 orders" in out
    assert "0 one nobody names, 0 something else" in out
    assert "10 of the best 10 levels" in out
    latest = venue.call("one", "GET", "/v2/stocks/trades/latest?symbols=SAMPLE").json()
    assert latest["trades"]["SAMPLE"]["p"] > 0
    again = replay(venue, SAMPLE, "--symbol", "SAMPLE", "--speed", "0", "--clear")
    assert "listed for this" not in again
    assert "10 of the best 10 levels" in again
    quote = venue.call("one", "GET", "/v2/stocks/quotes/latest?symbols=SAMPLE").json()
    assert quote["quotes"]["SAMPLE"]["bp"] == 0


def test_messages_without_a_book_replay_as_far_as_they_tell(venue: Venue, tmp_path: Path) -> None:
    alone = tmp_path / "flow.csv"
    alone.write_text("".join(SAMPLE.read_text().splitlines(keepends=True)[:200]))
    out = replay(venue, alone, "--symbol", "ALONE", "--speed", "max")
    assert "events      200 of 200" in out
    assert "one command at a time" not in out
    skipped = re.search(r"skipped +(\d+) events", out)
    assert skipped is not None
    assert int(skipped.group(1)) > 0  # orders from before the file
    agreed = re.search(r"(\d+) of the best (\d+) levels", out)
    assert agreed is not None
    assert agreed.group(1) == agreed.group(2) != "0"


def test_a_simple_csv_replays_in_its_time(venue: Venue, tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    file.write_text(SIMPLE)
    out = replay(venue, file, "--symbol", "MINE", "--speed", "2")
    assert "introduced  4 orders" in out
    assert "skipped     1 events" in out
    assert "rejected    1 orders" in out  # a price between two ticks
    assert "1 trades; 2 changes and deletes found their order" in out
    assert "2 of the best 2 levels" in out


def test_amazon_ends_in_the_book_it_shows(venue: Venue) -> None:
    file = data_file("lobster_amzn_l5/*_message_5*.csv")
    out = replay(venue, file, "--symbol", "AMZN", "--speed", "max")
    assert "rejected    0 orders" in out
    assert "128 filled exactly the order named, 0 one nobody names, 0 something else" in out
    assert "executions  128 of 128 expected" in out
    assert "10 of the best 10 levels" in out


def test_bitstamp_ends_in_the_book_of_its_orders(venue: Venue) -> None:
    file = data_file("bitstamp_l3/orders.csv.xz")
    out = replay(venue, file, "--symbol", "BTCUSD", "--speed", "max", "--tick", "0.0001")
    assert "events      50414 of 50414" in out
    assert "rejected    0 orders" in out
    assert "executions  517 of 517 expected" in out
    assert "10 of the best 10 levels" in out


def test_somebody_elses_order_in_the_book_is_met_and_told(venue: Venue, tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    file.write_text(SIMPLE)
    replay(venue, file, "--symbol", "OURS", "--speed", "max", "--clear")
    order = {
        "symbol": "OURS", "qty": "3", "side": "buy", "type": "limit", "limit_price": "100.50",
        "time_in_force": "gtc",
    }  # fmt: skip
    assert venue.call("one", "POST", "/v2/orders", order).status == 200
    out = replay(venue, file, "--symbol", "OURS", "--speed", "max")
    assert "fills       1 against orders of others" in out
    assert "one command at a time" in out


def test_ctrl_c_ends_it_with_what_was_done(venue: Venue) -> None:
    process = start_replay(venue, SAMPLE, "--symbol", "SLOW", "--speed", "0.5")
    assert process.stderr is not None
    process.stderr.readline()
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 0, out + said
    done = re.search(r"events +(\d+) of 600", out)
    assert done is not None
    assert 0 < int(done.group(1)) < 600


@pytest.mark.parametrize(
    ("text", "flags", "said"),
    [
        ("not,a,file\n", (), "line 1 is not a LOBSTER message"),
        ("time,action,id,side,price,quantity\n0,place,1,up,1,1\n", (), "line 2 is not a simple"),
        ("", (), "is empty"),
        ("34200.1,1,11,100,1000000,1\n", ("--speed", "-1"), "--speed"),
        ("34200.1,1,11,100,1000000,1\n34199.0,1,12,100,1000000,1\n", (), "time goes back"),
    ],
)
def test_a_bad_file_is_said_by_its_line(
    venue: Venue, tmp_path: Path, text: str, flags: tuple[str, ...], said: str
) -> None:
    file = tmp_path / "bad.csv"
    file.write_text(text)
    process = start_replay(venue, file, "--symbol", "BAD", *flags)
    out, complaint = process.communicate(timeout=LIMIT_S)
    assert process.returncode == 1, out
    assert said in complaint
    assert "Traceback" not in complaint
