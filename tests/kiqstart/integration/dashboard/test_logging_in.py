"""Nobody sees a page without a login, or changes anything without the role and a form of his own session."""

import httpx
import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.routing import Mount
from taskiq import InMemoryBroker
from tests.kiqstart.integration.dashboard.browser import (
    HASH,
    VIEWER,
    Browser,
    browsing,
    settings,
    text_of,
)

from kiqstart.app import App
from kiqstart.broker.broker import StreamBroker
from kiqstart.dashboard import create_dashboard
from kiqstart.dashboard.login_limit import TRIES
from kiqstart.operations.brokers import NoQueueError

PAGES = ["/", "/queues", "/workers", "/schedules", "/runs", "/runs/task", "/dead", "/dead/letter", "/acts"]
ACTS = ["/queues/pause", "/tasks/resume", "/schedules/run", "/runs/cancel", "/dead/purge"]


@pytest.mark.parametrize("path", [*PAGES, *ACTS])
async def test_a_page_leads_to_the_login(browser: Browser, path: str) -> None:
    page = await browser.get(path)
    assert (page.status_code, page.headers["location"]) == (303, "/login")
    # htmx would put the login into the middle of the page.
    part = await browser.get(path, **{"HX-Request": "true"})
    assert (part.headers["hx-redirect"], part.text) == ("/login", "")


@pytest.mark.parametrize("path", ["/queues/pause?name=low", "/schedules/run?name=x", "/dead/purge", "/logout"])
async def test_nothing_is_done_without_a_login(browser: Browser, path: str) -> None:
    token = await browser.token("/login")
    answer = await browser.client.post(path, data={"token": token})
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")


async def test_the_right_password_logs_in_and_out(browser: Browser) -> None:
    page = await browser.log_in()
    assert page.status_code == 200
    assert "Overview" in text_of(page)
    assert "ada" in text_of(page)
    token = await browser.token("/")
    answer = await browser.client.post("/logout", data={"token": token})
    assert answer.headers["location"] == "/login"
    assert (await browser.get("/")).status_code == 303


@pytest.mark.parametrize("password", ["", "wrong", "x" * 5000, "\x00", "\ud800"])
async def test_a_wrong_password_does_not(browser: Browser, password: str) -> None:
    encoded = password.encode(errors="surrogatepass")
    token = await browser.token("/login")
    page = await browser.client.post("/login", content=f"token={token}&user=ada".encode() + b"&password=" + encoded)
    assert page.status_code == 401
    assert "The password is wrong" in page.text
    assert (await browser.get("/")).status_code == 303


async def test_a_password_is_not_tried_for_ever(browser: Browser) -> None:
    codes = [(await browser.log_in("wrong")).status_code for _ in range(TRIES + 1)]
    assert codes == [*[401] * TRIES, 429]
    # The right one has to wait, too: else the limit would tell which it is.
    page = await browser.log_in()
    assert page.status_code == 429
    assert 0 < int(page.headers["retry-after"]) <= 60


async def test_a_login_needs_the_token_of_its_own_page(browser: Browser, broker: StreamBroker) -> None:
    async with browsing(broker) as other:
        token = await other.token("/login")
    await browser.get("/login")
    page = await browser.client.post("/login", data={"token": token, "user": "ada", "password": "operator's password"})
    assert page.status_code == 403
    assert (await browser.get("/")).status_code == 303


async def test_the_cookie_is_out_of_reach(browser: Browser, broker: StreamBroker) -> None:
    cookie = (await browser.get("/login")).headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert "Secure" not in cookie
    async with browsing(broker, base="https://site") as encrypted:
        assert "Secure" in (await encrypted.get("/login")).headers["set-cookie"]


@pytest.mark.parametrize("path", ["/", "/login", "/static/style.css", "/nothing", "/static/nothing", "/dead"])
async def test_the_browser_is_told_what_it_may_do(browser: Browser, path: str) -> None:
    headers = (await browser.get(path)).headers
    assert headers["content-security-policy"].startswith("default-src 'self'; base-uri 'none'; form-action 'self'")
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["x-frame-options"] == "DENY"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-content-type-options"] == "nosniff"


async def test_only_what_never_changes_is_kept_by_browsers(browser: Browser) -> None:
    assert (await browser.get("/login")).headers["cache-control"] == "no-store"
    asset = await browser.get("/static/htmx.min.js")
    assert asset.headers["content-type"].startswith("text/javascript")
    assert "immutable" in asset.headers["cache-control"]
    assert (await browser.get("/static/../settings.py")).status_code == 404


async def test_a_viewer_changes_nothing(browser: Browser) -> None:
    page = await browser.log_in(VIEWER)
    assert "view only" in text_of(page)
    assert "/queues/pause" not in (await browser.get("/queues")).text
    token = await browser.token("/")
    for path in (
        "/queues/pause?name=low",
        "/schedules/run?name=x",
        "/dead/retry",
        "/dead/purge",
        "/runs/retry",
        "/tasks/pause?name=x",
    ):
        assert (await browser.get(path)).status_code == 403
        assert (await browser.client.post(path, data={"token": token})).status_code == 403


async def test_an_act_needs_the_token_of_its_session(browser: Browser, broker: StreamBroker) -> None:
    async with browsing(broker) as other:
        await other.log_in()
        stolen = await other.token("/")
    await browser.log_in()
    for token in ("", "x", "\xe9", stolen):
        answer = await browser.client.post("/queues/pause?name=low", data={"token": token})
        assert answer.status_code == 403
        assert "of another session" in text_of(answer)
    assert "No queue and no task is paused" in text_of(await browser.get("/queues"))


async def test_a_form_that_is_too_large_is_refused(browser: Browser) -> None:
    await browser.log_in()
    assert (await browser.client.post("/queues/pause?name=low", content=b"x" * 100_000)).status_code == 403
    many = b"&".join(b"a=1" for _ in range(1000))
    assert (await browser.client.post("/queues/pause?name=low", content=many)).status_code == 403


async def test_the_proxys_header_counts_from_the_proxy_only(broker: StreamBroker) -> None:
    behind = settings(
        password_hash=None,
        viewer_password_hash=None,
        proxy_header="X-User",
        proxy_addresses="10.1.0.0/16",
        proxy_operators="ada",
    )
    async with browsing(broker, behind, peer="10.1.2.3") as browser:
        assert "ada" in text_of(await browser.get("/", **{"X-User": "ada"}))
        assert "bob (view only)" in text_of(await browser.get("/", **{"X-User": "bob"}))
        assert (await browser.get("/queues/pause?name=low", **{"X-User": "bob"})).status_code == 403
        # What the proxy does not say is no login, whatever cookie it gave before.
        assert (await browser.get("/")).status_code == 303
        twice = await browser.client.get("/", headers=[("X-User", "ada"), ("X-User", "bob")])
        assert twice.status_code == 303
    async with browsing(broker, behind, peer="10.2.0.1") as browser:
        assert (await browser.get("/", **{"X-User": "ada"})).status_code == 303
        assert "<form" not in (await browser.get("/login")).text


@pytest.mark.parametrize(
    ("said", "counted"),
    [
        (["10.9.9.9"], "10.9.9.9"),
        (["6.6.6.6, 10.9.9.9"], "10.9.9.9"),
        (["6.6.6.6", "10.9.9.9:50123"], "10.9.9.9"),
        (["[2001:db8::7]:443"], "2001:db8::7"),
        (["::ffff:10.9.9.9"], "10.9.9.9"),
        # What is no address is the proxy's own: nobody gets tries by it, and none of it is kept.
        (["unknown"], "10.1.2.3"),
        (["x" * 5000], "10.1.2.3"),
        ([], "10.1.2.3"),
    ],
)
async def test_tries_are_counted_by_what_the_proxy_itself_says(
    broker: StreamBroker, said: list[str], counted: str
) -> None:
    behind = settings(proxy_addresses="10.1.0.0/16")
    async with browsing(broker, behind, peer="10.1.2.3") as browser:
        await browser.log_in()
        headers = [("X-Forwarded-For", one) for one in said]
        token = await browser.token("/queues/pause?name=low")
        path = "/queues/pause?name=low"
        answer = await browser.client.post(path, data={"token": token}, headers=headers)
        assert answer.status_code == 303
        assert f"@dashboard {counted} " in text_of(await browser.get("/acts"))


async def test_no_page_names_the_host_that_a_request_says(browser: Browser) -> None:
    for path in ("/", "/login", "/nothing", "//evil.example/x"):
        page = await browser.get(path, **{"Host": "evil.example", "X-Forwarded-Host": "evil.example"})
        assert "evil.example" not in page.headers.get("location", "")
        assert "//evil.example" not in page.text
    assert "evil.example" not in (await browser.log_in()).text


async def test_another_method_is_no_way_around_a_form(browser: Browser) -> None:
    await browser.log_in()
    token = await browser.token("/queues/pause?name=low")
    for method in ("PUT", "PATCH", "DELETE", "HEAD"):
        await browser.client.request(method, f"/queues/pause?name=low&token={token}", data={"token": token})
    override = {"X-HTTP-Method-Override": "POST"}
    await browser.client.get(f"/queues/pause?name=low&token={token}&_method=POST", headers=override)
    assert "No queue and no task is paused" in text_of(await browser.get("/queues"))


async def test_a_proxys_user_acts_with_a_form_of_his_own(broker: StreamBroker) -> None:
    behind = settings(proxy_header="X-User", proxy_addresses="10.1.0.0/16", proxy_operators="*")
    async with browsing(broker, behind, peer="10.1.2.3") as browser:
        browser.client.headers["X-User"] = "ada"
        page = await browser.submit("/queues/pause?name=low")
        assert "The queue 'low' is paused" in text_of(page)
        token = await browser.token("/queues/resume?name=low")
        browser.client.headers["X-User"] = "bob"
        assert (await browser.client.post("/queues/resume?name=low", data={"token": token})).status_code == 403


async def test_a_session_outlives_the_process_with_a_secret_and_no_new_password(broker: StreamBroker) -> None:
    kept = settings(secret=SecretStr("s" * 32))
    async with browsing(broker, kept) as browser:
        await browser.log_in()
        cookies = browser.client.cookies
    async with browsing(broker, kept) as later:
        later.client.cookies = cookies
        assert (await later.get("/")).status_code == 200
    for changed in (settings(secret=SecretStr("t" * 32)), settings(secret=SecretStr("s" * 32), password_hash=None)):
        async with browsing(broker, changed) as later:
            later.client.cookies = cookies
            assert (await later.get("/")).status_code == 303


async def test_it_is_mounted_in_another_application(broker: StreamBroker) -> None:
    site = Starlette(routes=[Mount("/ops", app=create_dashboard(broker, settings()))])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(site), base_url="http://site") as client:
        browser = Browser(client)
        assert (await browser.get("/ops/")).headers["location"] == "/ops/login"
        page = await browser.submit("/ops/login", user="ada", password="operator's password")
        assert str(page.url) == "http://site/ops/"
        assert 'href="/ops/queues"' in page.text
        assert 'aria-current="page">Overview' in page.text
        assert "Path=/ops;" in (await browser.get("/ops/login")).headers.get("set-cookie", "Path=/ops;")
        assert (await browser.get("/ops/static/style.css")).status_code == 200
        assert "The queue 'low' is paused" in text_of(await browser.submit("/ops/queues/pause?name=low"))


def test_a_broker_without_queues_has_no_dashboard() -> None:
    with pytest.raises(NoQueueError):
        create_dashboard(App(broker=InMemoryBroker()), settings(password_hash=SecretStr(HASH)))


async def test_figures_are_for_whoever_has_logged_in_and_for_a_collector_with_the_token(broker: StreamBroker) -> None:
    token = "t" * 32
    async with browsing(broker, settings(metrics_token=SecretStr(token))) as browser:
        for wrong in ("", "Bearer", "Bearer wrong", f"Basic {token}", f"Bearer {token}x", "Bearer \xff"):
            refused = await browser.client.get("/metrics", headers=[(b"authorization", wrong.encode("latin-1"))])
            assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
            assert "kiqstart_" not in refused.text
        answer = await browser.get("/metrics", Authorization=f"Bearer {token}")
        assert answer.status_code == 200
        assert "kiqstart_tasks_waiting{" in answer.text
        # It opens nothing else.
        assert (await browser.get("/", Authorization=f"Bearer {token}")).status_code == 303
    async with browsing(broker) as browser:
        assert (await browser.get("/metrics", Authorization=f"Bearer {token}")).status_code == 401
        await browser.log_in(VIEWER)
        assert "kiqstart_tasks_waiting{" in (await browser.get("/metrics")).text
