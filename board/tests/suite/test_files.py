"""Files from the flash, and new programs over the network, behind the token."""

import os

from microfastapi import File, MicroFastApi, TestClient

FOLDER = "/tmp/microfastapi-%s" % os.urandom(4).hex()


def folder(**files):
    try:
        os.mkdir(FOLDER)
    except OSError:
        pass
    for name in files:
        with open(FOLDER + "/" + name.replace("_", "."), "wb") as file:
            file.write(files[name])
    return FOLDER


def test_files_are_served_with_type_etag_and_304():
    app = MicroFastApi()
    app.files("/static", folder(page_html=b"<p>hi", data_csv=b"x" * 2000))
    client = TestClient(app)
    reply = client.get("/static/page.html")
    assert (reply.status_code, reply.text) == (200, "<p>hi")
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert reply.headers["content-length"] == "5"
    again = client.get("/static/page.html", headers={"If-None-Match": reply.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert len(client.get("/static/data.csv").content) == 2000
    head = client.request("HEAD", "/static/data.csv")
    assert (head.headers["content-length"], head.content) == ("2000", b"")


def test_a_compressed_twin_is_sent_to_who_can_read_it():
    app = MicroFastApi()
    app.files("/", folder(app_js=b"plain", app_js_gz=b"packed"))
    client = TestClient(app)
    reply = client.get("/app.js", headers={"Accept-Encoding": "gzip, br"})
    assert (reply.content, reply.headers["content-encoding"]) == (b"packed", "gzip")
    assert client.get("/app.js").content == b"plain"


def test_no_path_leads_out_of_the_folder():
    app = MicroFastApi()
    app.files("/static", folder(a_txt=b"a"))
    client = TestClient(app)
    for path in ("/static/../secret", "/static/%2e%2e/secret", "/static//etc/passwd", "/static/", "/static/none.txt"):
        assert client.get(path).status_code == 404, path


def test_a_file_may_be_a_handlers_answer():
    app = MicroFastApi()
    place = folder(log_csv=b"1,2\n")

    @app.get("/log")
    def log(request):
        return File(place + "/log.csv", request)

    assert TestClient(app).get("/log").content == b"1,2\n"


def test_a_program_is_replaced_whole():
    app = MicroFastApi(token="t", body_limit=500)
    place = folder(main_py=b"old")
    app.updates(place)
    client = TestClient(app, token="t")
    program = b"print(1)\n" * 120  # larger than a body may be elsewhere
    assert client.put("/files/main.py", body=program).json()["bytes"] == len(program)
    assert client.get("/files/main.py").content == program
    assert "main.py" in client.get("/files").json()
    assert "main.py.new" not in os.listdir(place)
    assert client.put("/files/..", body=b"x").status_code == 404
    assert client.delete("/files/main.py").status_code == 204
    assert client.get("/files/main.py").status_code == 404


def test_updates_without_a_token_are_refused_at_registration():
    try:
        MicroFastApi().updates()
    except ValueError as error:
        assert "token" in str(error)
    else:
        raise AssertionError("accepted")


def test_a_token_guards_what_changes_something():
    app = MicroFastApi(token="s3cret")
    app.updates(folder())

    @app.get("/")
    def index():
        return 1

    @app.post("/go")
    def go():
        return 2

    nobody, owner = TestClient(app), TestClient(app, token="s3cret")
    assert nobody.get("/").json() == 1
    for reply in (
        nobody.post("/go"),
        TestClient(app, token="s3cre").post("/go"),
        TestClient(app, token="s3crett").post("/go"),
    ):
        assert reply.status_code == 401
        assert reply.headers["www-authenticate"] == "Bearer"
    assert owner.post("/go").json() == 2
    assert nobody.get("/files/main.py").status_code == 401
