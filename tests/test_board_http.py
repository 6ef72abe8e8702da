"""A board over a real socket: what it tells, what it refuses, and that it ends without ending anything else."""

import json
import re
import shutil
import signal

import pytest

from boards import TOKEN, board
from podium.runs.folder import RunFolder
from test_board import epoch, write_run


@pytest.fixture(scope="module")
def root(tmp_path_factory, comparison):
    """A folder with a finished comparison, a run that was interrupted, and a report that is a link to a file outside."""
    root = tmp_path_factory.mktemp("boards")
    shutil.copytree(comparison, root / "study")
    write_run(root / "alone", epoch(1))
    secret = root.parent / "secret.html"
    secret.write_text("outside")
    write_run(root / "linked", epoch(1))
    (root / "linked" / "report.html").symlink_to(secret)
    return root


@pytest.fixture(scope="module")
def shown(root):
    with board(root) as found:
        yield found


@pytest.fixture(scope="module")
def guarded(root):
    with board(root, TOKEN) as found:
        yield found


def ids(found):
    (state,) = found.events()
    return {each["name"]: each for each in (*state["studies"], *state["runs"])}


def test_the_page_and_what_it_loads_come_from_the_board_alone(shown):
    status, headers, page = shown.ask("/")
    assert status == 200
    assert "default-src 'self'" in headers["content-security-policy"]
    files = re.findall(r'(?:src|href)="(\w[^"]+)"', page.decode())
    assert len(files) >= 4
    for file in files:
        assert shown.ask(f"/{file}")[0] == 200, file
    assert not re.search(rb"<script>|style=|onclick", page)


def test_a_page_is_told_the_folder_and_then_what_is_new(tmp_path):
    run = RunFolder(write_run(tmp_path / "a", epoch(1)))
    with board(tmp_path) as found:
        (first,) = found.events()
        assert (first["whole"], first["control"], len(first["runs"])) == (True, False, 1)
        run.log(epoch(2))
        (news,) = found.events(first["mark"])
        assert not news["whole"]
        assert news["runs"][0]["points"]["epoch"] == [2]
        (again,) = found.events("another.7")
        assert again["whole"], "a page that stayed open while the board was started anew gets all of it"


def test_without_a_token_the_board_only_shows(shown):
    alone = ids(shown)["alone"]
    for what in ("stop", "resume"):
        status, _, body = shown.ask(f"/api/{what}/{alone['id']}", method="POST")
        assert status == 403
        assert "--token-file" in json.loads(body)["fix"]


@pytest.mark.parametrize("path", ["/api/events", "/api/settings/a/b", "/api/compare/a/b", "/api/pictures/a"])
@pytest.mark.parametrize("token", [False, "another-token-of-some-length"])
def test_with_a_token_nothing_is_told_without_it(guarded, path, token):
    assert guarded.ask(path, token=token)[0] == 401
    assert guarded.ask("/api/stop/a", method="POST", token=token)[0] == 401


def test_the_page_of_another_host_that_leads_here_is_refused(shown):
    assert shown.ask("/api/events", Host="evil.example")[0] == 421


def test_a_report_may_run_its_script_but_reach_nothing(guarded):
    study = ids(guarded)["study"]
    status, headers, page = guarded.ask(f"/{study['report']}", token=False)
    assert status == 200
    assert b"Podium" in page
    policy = headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts")
    assert "allow-same-origin" not in policy
    assert "default-src 'none'" in policy


def test_a_report_is_found_by_its_whole_address_only_and_never_outside_of_the_folder(guarded):
    found = ids(guarded)
    address = "/" + found["study"]["report"]
    for wrong in (address[:-1], address.replace(".", ""), address[:-4] + "0000", "/report/..%2f..%2fetc%2fpasswd"):
        assert guarded.ask(wrong, token=False)[0] == 404
    assert found["linked"]["report"] is None


@pytest.mark.slow
def test_settings_that_differ_and_two_runs_compared(shown, root):
    found = ids(shown)
    one, two = (found[f"{name}-seed0"]["id"] for name in ("lenet5", "lenet5_modern"))
    settings = json.loads(shown.ask(f"/api/settings/{one}/{two}")[2])["settings"]
    assert ["model", "lenet5", "lenet5_modern"] in settings
    status, _, body = shown.ask(f"/api/compare/{one}/{two}")
    assert status == 200
    assert json.loads(body)["names"] == ["lenet5", "lenet5_modern"]
    assert shown.ask(f"/api/pictures/{one}")[0] == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [("/api/pictures/{alone}", 409), ("/api/compare/{alone}/{alone}", 409), ("/api/pictures/0000", 404), ("/api/nothing", 404), ("/report/{alone}.", 404)],
)  # fmt: skip
def test_what_is_not_there_is_an_error_with_a_fix_and_no_path(shown, root, path, status):
    found, _, body = shown.ask(path.format(alone=ids(shown)["alone"]["id"]))
    assert found == status
    said = json.loads(body)
    assert said["message"]
    assert said["fix"]
    assert str(root) not in body.decode()


def test_what_nobody_trains_cannot_be_stopped(guarded):
    status, _, body = guarded.ask(f"/api/stop/{ids(guarded)['alone']['id']}", method="POST")
    assert status == 409
    assert "no process of yours" in json.loads(body)["message"]


@pytest.mark.slow
def test_a_resume_that_fails_says_why(guarded, root):
    """The run's log has no checkpoint beside it, and its settings no recipe."""
    alone = ids(guarded)["alone"]
    (root / "alone" / "settings.yaml").write_text("model: no_such_network\ndata: digits\n")
    assert guarded.ask(f"/api/resume/{alone['id']}", method="POST")[0] == 200
    mark = ""
    while True:
        (news,) = guarded.events(mark)
        mark = news["mark"]
        if said := [run["said"] for run in news["runs"] if run["name"] == "alone" and run["said"][0]]:
            break
    ((english, chinese),) = said
    assert english.startswith("error: ")
    assert "fix: " in english
    assert "没有名为 'no_such_network' 的网络" in chinese


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_board_and_the_streams_of_its_pages(tmp_path, number):
    write_run(tmp_path / "a", epoch(1))
    with board(tmp_path) as found:
        (first,) = found.events()
        found.process.send_signal(number)
        with pytest.raises((AssertionError, OSError)):
            found.events(first["mark"])
        assert found.process.wait(20) == 0


def test_wrong_words_are_refused_by_name(podium, tmp_path):
    podium("board", "nowhere").refused(2, "nowhere: no such folder")
    podium("board", tmp_path, "--port", "70000").refused(2, "70000")
    podium("board", tmp_path, "--token-file", "nowhere").refused(2, "nowhere")


@pytest.mark.slow
def test_a_port_that_is_taken_is_said(tmp_path, shown):
    port = shown.url.rpartition(":")[2]
    with board(tmp_path, None, "--port", port) as second:
        assert second.process.wait(30) == 6
        assert f"port {port}" in second.process.stderr.read()
