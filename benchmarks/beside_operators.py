"""A single synchronous document of 200 KB while five operators use the operator's page, over the same without them.

    python -m benchmarks.beside_operators

P-256 sandbox, one worker, one connection kept open, a pause between requests (low load). Blocks of requests with operators and
without take turns. An operator has a session, and asks for a page every second, the pages of the navigation in turn; the database
holds the operations of the benchmark itself. Left out: a database with millions of rows (`make operator-scale` times its
lists), and what a browser does.
"""

import argparse
import json
import re
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from benchmarks.latency import PAUSE_SECONDS, Single, milliseconds
from harness.held_folder import held_folder
from harness.operator_visitor import Visitor
from harness.service import RunningService, free_port
from harness.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

OPERATORS, CLICK_SECONDS = 5, 1.0
LINK = re.compile(r'<a href="(/[a-z]*)"')


def signed_in(port: int, password: str) -> Visitor:
    visitor = Visitor(port)
    answer = visitor.sign_in("sandbox", password)
    if answer.status != 303:
        raise RuntimeError(f"an operator cannot sign in: {answer.status}")
    return visitor


def click(visitor: Visitor, paths: list[str], ended: threading.Event, first: int) -> int:
    """Asks for a page every second until the event, and returns how many came. Raises RuntimeError for one that does not."""
    ended.wait(first * CLICK_SECONDS / OPERATORS)
    count = 0
    while not ended.wait(CLICK_SECONDS):
        path = paths[(first + count) % len(paths)]
        answer = visitor.get(path)
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status} {answer.text[:500]}")
        count += 1
    return count


def use(port: int, password: str) -> None:
    """What the process of the operators does: it clicks while its standard input is open, and says how many pages came."""
    visitors = [signed_in(port, password) for _ in range(OPERATORS)]
    paths = list(dict.fromkeys(LINK.findall(visitors[0].get("/").text)))
    ended = threading.Event()
    with ThreadPoolExecutor(OPERATORS) as pool:
        clicking = [pool.submit(click, one, paths, ended, number) for number, one in enumerate(visitors)]
        print(len(paths), flush=True)
        sys.stdin.read()
        ended.set()
    print(sum(each.result() for each in clicking))


@contextmanager
def operators(port: int, password: str) -> "Iterator[list[int]]":
    """Operators click during the block. The list gets how many pages they were given, when it has ended."""
    command = [sys.executable, "-m", "benchmarks.beside_operators", f"--use={port}"]
    given: list[int] = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(password + "\n")
        process.stdin.flush()
        if int(process.stdout.readline() or 0) < 2:
            raise RuntimeError("the operators found no pages")
        yield given
        process.stdin.close()
        said = process.stdout.read()
    if process.returncode or not said:
        raise RuntimeError("an operator did not get a page")
    given.append(int(said))


def block(single: Single, requests: int) -> list[float]:
    taken = []
    for _ in range(requests):
        time.sleep(PAUSE_SECONDS)
        taken.append(milliseconds(single.link, single.seal))
    return taken


def measure(rounds: int = 12, requests: int = 150) -> dict[str, float]:
    """The median of the rounds' ratios, the medians of all requests in ms, and how many pages the operators were given."""
    port = free_port()
    with (
        held_folder("bench") as folder,
        RunningService("--sandbox-credential", "p256", "--workers=1", f"--operator-port={port}") as service,
        ExitStack() as stack,
    ):
        password = service.folder / "temp" / "sandbox" / "operator-password"
        until(password.exists)
        single = Single(service, folder)
        stack.enter_context(single.link.link)
        block(single, 20)
        alone, beside, ratios, pages = list[float](), list[float](), list[float](), 0
        for number in range(rounds):
            found = {}
            for is_beside in (False, True) if number % 2 else (True, False):
                if is_beside:
                    with operators(port, password.read_text().strip()) as given:
                        found[True] = block(single, requests)
                    pages += sum(given)
                else:
                    found[False] = block(single, requests)
            alone += found[False]
            beside += found[True]
            ratios.append(statistics.median(found[True]) / statistics.median(found[False]))
    return {
        "single_beside_operators_over_alone": round(statistics.median(ratios), 3),
        "single_beside_operators_ms": round(statistics.median(beside), 2),
        "single_without_operators_ms": round(statistics.median(alone), 2),
        "pages": pages,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=12, help="each with a block of both kinds (default: %(default)s)")
    parser.add_argument("--requests", type=int, default=150, help="of a block (default: %(default)s)")
    parser.add_argument("--use", type=int, metavar="PORT", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.use:
        use(options.use, sys.stdin.readline().strip())
    else:
        print(json.dumps(measure(options.rounds, options.requests), indent=2))


if __name__ == "__main__":
    main()
