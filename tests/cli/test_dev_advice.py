"""What commands say of a store that a server holds, or that nobody does."""

from pathlib import Path
from textwrap import dedent

import pytest

from tests.cli.conftest import Shell
from tests.server.dev_server import dev_server

STORE = ("--store", "sqlite:durably.db", "--port", "0")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("other", "gone"):
        text = f"""
            from durably import DurableContext, durable_execution

            @durable_execution
            async def {name}(event: dict, ctx: DurableContext) -> str:
                return "done"
            """
        (tmp_path / f"{name}.py").write_text(dedent(text))
    return tmp_path


def test_a_process_that_lacks_the_function_is_named_with_what_it_has(
    folder: Path, shell: Shell
) -> None:
    shell.run("start", "gone.py:gone", "--name", "g")
    with dev_server(folder, "other.py", options=STORE):
        why, listed = shell.run("why", "g").out, shell.run("list").out
    with dev_server(folder, command="serve", options=STORE):
        assert "has no function 'gone'; it has: none." in shell.run("why", "g").out

    assert "has no function 'gone'; it has: other." in why
    assert "`durably dev FILE`, or `durably serve --function gone=COMMAND`" in why
    assert "no process has it" in listed


def test_a_reload_says_what_is_new_what_is_gone_and_who_is_left(folder: Path) -> None:
    waiting = (
        (folder / "gone.py")
        .read_text()
        .replace('return "done"', 'return str(await ctx.wait("nap", 1000))')
    )
    (folder / "gone.py").write_text(waiting)
    with dev_server(folder, "gone.py", options=STORE) as server:
        server.client.invoke(FunctionName="gone", Payload="{}", InvocationType="Event")

        (folder / "gone.py").write_text(waiting.replace("def gone", "def fresh"))

        assert "1 function; new: fresh; gone: gone." in server.until_said("Loaded anew")
        server.until_said("1 execution of those cannot go on here.")


def test_a_store_that_does_not_tell_how_many_are_left_ends_no_server(folder: Path) -> None:
    file = folder / "gone.py"
    fresh = file.read_text().replace("def gone", "def fresh")
    failing = """
from durably.errors import StoreError
from durably.server.serving import Serving

async def count_open(self, names):
    raise StoreError("the database answers no more")

Serving.count_open = count_open
"""
    with dev_server(folder, "gone.py", options=STORE) as server:
        assert server.invoke("gone", {}) == "done"  # by then it looks at the file

        file.write_text(fresh + failing)
        server.until_said("Loaded anew: 1 function; new: fresh; gone: gone.")

        file.write_text(fresh.replace("def fresh", "def fresher"))
        server.until_said("Loaded anew: 1 function; new: fresher; gone: fresh.")

        assert server.invoke("fresher", {}) == "done"
        assert server.stop() == 0


def test_nobody_is_told_to_start_a_worker_for_what_is_parked(folder: Path, shell: Shell) -> None:
    failing = (folder / "gone.py").read_text().replace('return "done"', "raise SystemExit")
    (folder / "gone.py").write_text(failing)
    with dev_server(folder, "gone.py", options=(*STORE, "--park-after", "1")) as server:
        server.client.invoke(FunctionName="gone", Payload="{}", DurableExecutionName="g")

    why, listed = shell.run("why", "g"), shell.run("list")

    assert "Mend the cause; nothing lets it go on before `durably resume g`." in why.out
    assert "PARKED" in listed.out
    assert "failed in a row" not in listed.out
    assert "worker" not in why.out + why.err + listed.out + listed.err


def test_a_start_again_with_another_input_says_what_holds_for_start(
    folder: Path, shell: Shell
) -> None:
    words = ("start", "gone.py:gone", "--name", "g")
    shell.run(*words, "--input", "{}")

    again = shell.run(*words, "--input", "[]")

    assert again.code == 2
    assert "Choose another --name, or give the same --input" in again.err


def test_whoever_finds_the_store_held_is_told_what_works_all_the_same(
    folder: Path, shell: Shell
) -> None:
    with dev_server(folder, "gone.py", options=STORE):
        second = shell.run("dev", "other.py", *STORE)

    assert second.code == 2
    assert "`run`, `worker`, `dev` and `serve`" in second.err
    assert "another --store" in second.err
