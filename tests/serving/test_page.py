"""The page in headless Chromium: type, choose a voice, add one, hear, download. Skipped where there is no Chromium."""

import io
import os
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.serving.test_uploaded_voices import recording

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
QUIET = "--disable-quic --no-first-run --disable-background-networking --disable-component-update --disable-sync"
SOUND = "--autoplay-policy=no-user-gesture-required --use-fake-device-for-media-stream --use-fake-ui-for-media-stream"
PAINTED = """() => {
  const canvas = document.getElementById("spectrogram");
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return data.filter((value, n) => n % 4 === 3 && value > 0).length;
}"""

WATCH = """() => {
  const status = document.getElementById("status");
  window.said = [];
  new MutationObserver(() => window.said.push(status.textContent)).observe(status, { childList: true });
}"""

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
expect.set_options(timeout=20_000)
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")]


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        arguments = ["--no-sandbox", "--disable-gpu", *QUIET.split(), *SOUND.split()]
        browser = started.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def page(browser):
    """A page that may load nothing but from the server, and whose scripts must not fail."""
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    failures = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.on("request", lambda request: failures.append(request.url) if not ours(request.url) else None)
    page.set_default_timeout(20_000)
    yield page
    page.close()
    assert failures == []


def ours(url: str) -> bool:
    return url.startswith(("http://127.0.0.1:", "blob:http://127.0.0.1:", "data:"))


def opened(page, address):
    page.goto(address)
    voices(page, 2)
    return page


def voices(page, count, chosen=None):
    """Wait for so many voices, and for one to be chosen."""
    expect(page.locator("#voice option")).to_have_count(count)
    if chosen is not None:
        expect(page.locator("#voice")).to_have_value(chosen)


def spoken(page) -> float:
    """Speak, and wait until all is there; returns the audio element's seconds."""
    page.get_by_role("button", name="Speak").click()
    expect(page.locator("#download")).to_be_visible()
    expect(page.locator("#audio")).to_have_js_property("readyState", 4)  # enough to play
    return page.evaluate("document.getElementById('audio').duration")


def test_type_choose_hear_download(serve, page):
    with serve() as address:
        opened(page, address)
        expect(page.locator("#model")).to_have_text("tiny")
        page.get_by_label("Text", exact=True).fill("one two three four")
        page.get_by_label("Voice").select_option("bert")
        page.get_by_label("Seed", exact=True).fill("4")
        seconds = spoken(page)
        assert page.evaluate(PAINTED) > 1000
        assert page.locator("#words span").all_text_contents() == ["one", "two", "three", "four"]
        assert page.evaluate("document.getElementById('audio').src === document.getElementById('download').href")
        with page.expect_download() as download:
            page.get_by_role("link", name="Download").click()
        waveform, rate = soundfile.read(io.BytesIO(Path(download.value.path()).read_bytes()))
        assert rate == 24000 and len(waveform) / rate == pytest.approx(seconds, abs=0.01) and seconds > 0.5
        assert np.abs(waveform).max() > 0.01


def test_by_keyboard(serve, page):
    with serve() as address:
        opened(page, address)
        page.get_by_label("Text", exact=True).focus()
        order = []
        for _ in range(5):
            page.keyboard.press("Tab")
            order.append(page.evaluate("document.activeElement.id"))
        assert order == ["voice", "speed", "seed", "another-seed", "speak"]
        page.get_by_label("Text", exact=True).fill("one")
        page.keyboard.press("Control+Enter")
        expect(page.locator("#download")).to_be_visible()


def test_add_and_remove_a_voice(serve, page, tmp_path):
    file = tmp_path / "carl.flac"
    file.write_bytes(recording(seconds=1.5))
    page.on("dialog", lambda dialog: dialog.accept())
    with serve() as address:
        opened(page, address)
        page.get_by_text("Add a voice").click()
        page.get_by_label("Name").fill("carl")
        page.get_by_label("Recording").set_input_files(file)
        expect(page.locator("#voice-audio")).to_be_visible()
        page.get_by_label("What is said in it").fill("one two")
        page.get_by_role("button", name="Save the voice").click()
        voices(page, 3, "carl")
        page.get_by_label("Text", exact=True).fill("one")
        spoken(page)
        page.get_by_role("button", name="Remove").click()
        voices(page, 2, "anna")


def test_record_a_voice(serve, page):
    """Chromium's microphone for tests beeps."""
    with serve() as address:
        opened(page, address)
        page.get_by_text("Add a voice").click()
        page.get_by_role("button", name="Record", exact=True).click()
        page.wait_for_timeout(1500)
        page.get_by_role("button", name="Stop recording").click()
        expect(page.locator("#voice-audio")).to_be_visible()
        expect(page.locator("#status")).to_contain_text("Recorded")
        page.get_by_label("Name").fill("me")
        page.get_by_label("What is said in it").fill("one two")
        page.get_by_role("button", name="Save the voice").click()
        voices(page, 3, "me")


def test_errors_are_said_and_a_token_is_asked_for(serve, page):
    with serve(token="sesame", text=20) as address:
        page.goto(address)
        page.get_by_label("Token of this server").fill("sesame")
        page.get_by_role("button", name="Go on").click()
        voices(page, 2)
        expect(page.locator("#token-form")).to_be_hidden()
        text = page.get_by_label("Text", exact=True)
        expect(text).to_have_js_property("maxLength", 20)
        page.evaluate(WATCH)
        text.fill("one")
        spoken(page)
        said = page.evaluate("window.said")  # by a screen reader: the beginning and the end
        assert said[0].startswith("Speaking") and "of speech in" in said[-1] and len(said) == 2
        text.fill("[pause 99s] one")
        page.get_by_role("button", name="Speak").click()
        expect(page.get_by_role("alert")).to_contain_text("99 s of silence")
        expect(page.locator("#result")).to_be_hidden()
        expect(page.locator("#audio")).to_have_js_property("readyState", 0)  # not the speech before


@pytest.mark.parametrize("width, scheme", [(1400, "light"), (420, "dark")])
def test_screenshots(serve, browser, tmp_path, width, scheme):
    """Nothing is wider than the screen; MELLE_SCREENSHOTS=FOLDER keeps what it looks like."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    with serve() as address:
        opened(page, address)
        page.get_by_label("Text", exact=True).fill("one two three four five six seven eight nine")
        spoken(page)
        page.get_by_text("Add a voice").click()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, ground[4:-1].split(","))) < 200) == (scheme == "dark")
        image = page.screenshot(full_page=True)
    assert struct.unpack(">I", image[16:20]) == (width,)
    folder = Path(os.environ.get("MELLE_SCREENSHOTS") or tmp_path)
    (folder / f"page-{width}-{scheme}.png").write_bytes(image)
    page.close()
