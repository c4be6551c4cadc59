from __future__ import annotations

import io
import zipfile

import pytest

DOWNLOADS = "/home/kernel/Downloads"


@pytest.fixture
def write(machine):
    def write(path, data=b"data", **params):
        answer = machine("PUT", "fs/write_file", params={"path": path, **params}, content=data)
        assert answer.status_code == 201, answer.text

    return write


@pytest.fixture
def read(machine):
    return lambda path: machine("GET", "fs/read_file", params={"path": path})


@pytest.fixture
def names(machine):
    return lambda path: [each["name"] for each in machine("GET", "fs/list_files", params={"path": path}).json()]


def zipped(**files):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in files.items():
            archive.writestr(name.replace("__", "/"), content)
    return data.getvalue()


def test_file_is_read_as_it_was_written(write, read):
    write("/data/a b.bin", bytes(range(256)))
    answer = read("/data/a b.bin")
    assert (answer.content, answer.headers["content-type"]) == (bytes(range(256)), "application/octet-stream")


def test_machine_has_kernels_folders(names):
    assert {"home", "tmp"} <= set(names("/"))
    assert names(DOWNLOADS) == []


def test_file_info_tells_size_and_mode(machine, write):
    write(f"{DOWNLOADS}/a.csv", b"1,2", mode="600")
    info = machine("GET", "fs/file_info", params={"path": f"{DOWNLOADS}/a.csv"}).json()
    assert (info["name"], info["path"]) == ("a.csv", f"{DOWNLOADS}/a.csv")
    assert (info["size_bytes"], info["is_dir"], info["mode"]) == (3, False, "0600")
    assert machine("GET", "fs/list_files", params={"path": DOWNLOADS}).json() == [info]


def test_folder_is_made_and_file_deleted(machine, write, names):
    assert machine("PUT", "fs/create_directory", json={"path": "/data/deep"}).status_code == 201
    write("/data/deep/a")
    assert machine("PUT", "fs/delete_file", json={"path": "/data/deep/a"}).status_code == 200
    assert names("/data/deep") == []
    assert machine("PUT", "fs/delete_file", json={"path": "/data/deep/a"}).status_code == 404


def test_files_are_uploaded_in_one_request(machine, read):
    files = {"files[0][file]": ("x", b"one"), "files[1][file]": ("y", b"two")}
    paths = {"files[0][dest_path]": "/data/1", "files[1][dest_path]": "/up/2"}
    assert machine("POST", "fs/upload", files=files, data=paths).status_code == 201
    assert (read("/data/1").content, read("/up/2").content) == (b"one", b"two")


def test_zip_is_unpacked_and_folder_downloaded_as_zip(machine, read):
    files = {"zip_file": ("a.zip", zipped(a="1", sub__b="2"))}
    assert machine("POST", "fs/upload_zip", files=files, data={"dest_path": "/data"}).status_code == 201
    assert read("/data/sub/b").content == b"2"
    answer = machine("GET", "fs/download_dir_zip", params={"path": "/data"})
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert {name: archive.read(name) for name in ("a", "sub/b")} == {"a": b"1", "sub/b": b"2"}


@pytest.mark.parametrize("path", ["/../../../etc/passwd", "/home/../../../../etc/passwd"])
@pytest.mark.parametrize(
    ("method", "call"),
    [("GET", "read_file"), ("PUT", "write_file"), ("GET", "list_files"), ("GET", "download_dir_zip")],
)
def test_path_leads_nowhere_outside_the_machine(machine, method, call, path):
    assert machine(method, f"fs/{call}", params={"path": path}).status_code == 403


def test_zip_leads_nowhere_outside_the_machine(kernel, machine):
    files = {"zip_file": ("a.zip", zipped(**{"..__..__..__escaped": "1"}))}
    assert machine("POST", "fs/upload_zip", files=files, data={"dest_path": "/data"}).status_code == 403
    assert not (kernel.browsers[0].folder.parent / "escaped").exists()


def test_link_leads_nowhere_outside_the_machine(kernel, machine, write):
    write("/data/a")
    (kernel.browsers[0].folder / "data/out").symlink_to("/etc")
    assert machine("GET", "fs/list_files", params={"path": "/data/out"}).status_code == 403


@pytest.mark.parametrize("path", ["", "relative", "/a\0b", "/" + "a" * 5000])
def test_invalid_path_is_a_400(machine, path):
    assert machine("GET", "fs/file_info", params={"path": path}).status_code == 400


def test_missing_file_and_folder_are_a_404(machine, read):
    assert read("/data/none").status_code == 404
    assert machine("GET", "fs/list_files", params={"path": "/none"}).status_code == 404


def test_host_path_is_not_of_the_machine(read, tmp_path):
    (tmp_path / "mine").write_text("secret")
    assert read(str(tmp_path / "mine")).status_code == 404


def test_files_are_gone_with_the_browser(kernel, client, write):
    write("/data/a")
    folder = kernel.browsers[0].folder
    assert (folder / "data/a").exists()
    client.delete(f"/browsers/{kernel.browsers[0].session_id}")
    assert not folder.exists()


def test_files_are_gone_with_the_emulator(kernel, write):
    write("/data/a")
    folder = kernel.browsers[0].folder
    kernel.stop()
    assert not folder.parent.exists()


def test_machine_of_an_ended_browser_is_a_404(kernel, client, machine):
    client.delete(f"/browsers/{kernel.browsers[0].session_id}")
    answer = machine("GET", "fs/list_files", params={"path": "/"})
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_address_of_the_machine_takes_its_token_in_place_of_the_key(kernel, client, create):
    address = create()["base_url"]
    token = kernel.browsers[0].token
    parameters = {"path": "/home/kernel/Downloads", "jwt": token}
    headers = {"Authorization": ""}
    assert client.get(f"{address}/fs/list_files", params=parameters, headers=headers).json() == []
    parameters["jwt"] = token[:-1]
    assert client.get(f"{address}/fs/list_files", params=parameters, headers=headers).status_code == 401
    assert kernel.requests("GET", "/browser/**")[0].query["jwt"] == "[redacted]"
