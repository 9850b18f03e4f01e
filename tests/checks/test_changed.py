"""``./dev test --changed`` chooses the tests that a change can break."""

from __future__ import annotations

import changed


def test_a_module_is_tested_by_who_imports_it_and_who_starts_it() -> None:
    chosen = changed.tests_of(["guest/vshd/shell_session.py"])
    assert "tests/vshd/test_sessions.py" in chosen, "it starts `python -m vshd`"
    assert "tests/flows/test_vsh.py" in chosen, "it starts garcon, which starts vshd"
    assert "tests/checks/test_lint.py" in chosen
    assert not [
        path for path in chosen if path.startswith(("tests/garcon/desktop/test_icons", "tests/sommelier_shim/"))
    ]
    assert {"tests/flows/test_vsh.py", "tests/guestlink/test_framing.py"} <= set(
        changed.tests_of(["lib/guestlink/vsh/framing.py"])
    )


def test_a_module_is_tested_by_who_imports_only_a_constant_of_it() -> None:
    assert "tests/garcon/adoption/test_adopt.py" in changed.tests_of(["guest/garcon/diagnosis/facts.py"])
    assert "tests/vshd/test_floods.py" in changed.tests_of(["tests/support/stage.py"])


def test_a_page_is_tested_by_the_checks() -> None:
    assert {path.split("/")[1] for path in changed.tests_of(["docs/install.md"])} == {"checks"}


def test_what_takes_long_is_tested_when_it_changes_itself() -> None:
    machine = "tests/container/test_adopt.py"
    assert machine not in changed.tests_of(["guest/garcon/app_list.py"])
    assert machine in changed.tests_of([machine])


def test_everything_depends_on_the_libraries() -> None:
    chosen = changed.tests_of(["requirements-dev.txt"])
    assert {"garcon", "guestlink", "sommelier_shim", "vshd"} <= {path.split("/")[1] for path in chosen}
