from __future__ import annotations

import pytest

from airflow_provider_kernel.testing.resources.browsers.pictures import MP4


@pytest.fixture
def path(create):
    return f"/browsers/{create(headless=False)['session_id']}/replays"


def test_replay_is_recorded_stopped_and_downloaded(client, path):
    started = client.post(path, json={"framerate": 10})
    replay = started.json()
    assert (started.status_code, replay["finished_at"]) == (201, None)
    assert client.post(f"{path}/{replay['replay_id']}/stop").status_code == 200
    assert client.get(path).json()[0]["finished_at"]
    answer = client.get(f"{path}/{replay['replay_id']}")
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, MP4, "video/mp4")


def test_second_replay_at_once_is_a_409(client, path):
    first = client.post(path).json()["replay_id"]
    assert client.post(path).status_code == 409
    client.post(f"{path}/{first}/stop")
    assert client.post(path).status_code == 201


def test_replay_is_prepared_for_a_while(kernel, client, path):
    kernel.switches.replay_seconds = 3600
    replay = client.post(path).json()["replay_id"]
    client.post(f"{path}/{replay}/stop")
    answer = client.get(f"{path}/{replay}")
    assert (answer.status_code, answer.content, answer.headers["retry-after"]) == (202, b"", "1")


def test_end_of_the_browser_ends_its_replay(client, path):
    replay = client.post(path).json()["replay_id"]
    client.delete(path.removesuffix("/replays"))
    assert client.get(f"{path}/{replay}").content == MP4


def test_replay_has_a_secret_address(kernel, client, path):
    assert f"jwt={kernel.browsers[0].token}" in client.post(path).json()["replay_view_url"]


def test_headless_browser_has_no_replay(client, create):
    assert client.post(f"/browsers/{create()['session_id']}/replays").status_code == 400


@pytest.mark.parametrize("body", [{"framerate": 0}, {"framerate": 61}, {"record_audio": 1}])
def test_invalid_replay_is_a_400(client, path, body):
    assert client.post(path, json=body).status_code == 400


def test_unknown_replay_is_a_404(client, path):
    assert client.get(f"{path}/none").status_code == 404
    assert client.post(f"{path}/none/stop").status_code == 404
