"""The page of `podium serve` in a browser: pictures in, answers out, in two languages, by day and night, without a mouse, and safely."""

import contextlib
import io
import json
import math
import re
import socket
import struct
import subprocess
import sys
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

import podium
from browsers import MARKS, PHONE, WIDE
from podium.data.preprocessing import Preprocessing
from podium.evaluation.metrics import wilson
from podium.explain.colours import on_photo
from podium.serving.pictures import _decode
from stand_in import Script, answer, serving

pytestmark = MARKS
HOSTILE = ["<img src=x onerror=alert(1)>", "</script><script>alert(1)</script>", "{n} ${name} $& rose"]
REFUSED = "Failed to load resource"  # what Chromium writes of each answer that is an error


def card(classes, **more):
    """The card of a network that knows flowers."""
    return {
        "spec": {"model": "mobilenet_v1_075"}, "classes": classes, "split": "test", "data": "flowers.tar", "recipe": "finetune",
        "preprocessing": {"image_size": 224, "channels": 3, "resize": "crop", "crop_pct": 0.875}, "steps": 1330, "seed": 0,
        "start": "ImageNet (keras:MobileNet_0.75)", "licence": "Apache-2.0", "dtype": "float32", "podium": "0.1.0",
        "scores": {"top1": 0.86, "n": 100}, "served": {"sha256": "e68c91" + 58 * "0"}, "parent": {"sha256": "1f2337" + 58 * "0"},
        "confidence": {"threshold": 0.2879, "measured": {"split": "test", "images": 100, "coverage": 0.97, "accuracy": 0.89}},
        **more,
    }  # fmt: skip


@pytest.fixture
def script():
    """What the server answers; a test may change it before it opens the page."""
    flowers = ["daisy", "dandelion", "rose", "sunflower", "tulip"]
    return Script({"mobilenet": card(flowers), "resnet20": card(flowers, start="random weights")})


@pytest.fixture
def address(script):
    with serving(script) as found:
        yield found


@pytest.fixture
def visit(browser, address):
    """Open the page; a test ends with an error in the console, or a request to another place, fails."""
    said, asked, opened = [], [], []

    def go(expected=(), path="", **context):
        opened.append(browser.new_context(**{"viewport": WIDE, "locale": "en-GB", **context}))
        page = opened[-1].new_page()
        page.set_default_timeout(10_000)
        page.on(
            "console",
            lambda m: m.type in ("error", "warning") and not m.text.startswith(expected) and said.append(m.text),
        )
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: request.url.startswith(("http", "ws")) and asked.append(request.url))
        page.goto(address + path)
        return page

    yield go
    for context in opened:
        context.close()
    assert said == []
    assert [url for url in asked if not url.startswith(address)] == [], "a page asks its own server only"


@pytest.fixture
def tab(visit):
    page = visit()
    ready(page)
    return page


def ready(page):
    page.locator("#lead:not(:empty)").wait_for()


def picture(name="rose.png", size=(500, 375), colour=(200, 40, 60)):
    """A file for the page to take."""
    content = io.BytesIO()
    Image.new("RGB", size, colour).save(content, "PNG")
    return {"name": name, "mimeType": "image/png", "buffer": content.getvalue()}


def give(page, *files):
    page.set_input_files("#files", list(files))
    page.locator(".answer:not([aria-busy])").first.wait_for()


def rows(page, place=0):
    """(class, share) of each bar of an answer."""
    found = page.locator(".answer").nth(place).locator(".bars li")
    names, shares = (found.locator(part).all_text_contents() for part in (".name", ".share"))
    return list(zip(names, [share.replace("\u00a0", " ") for share in shares], strict=True))


def text_of(page, selector):
    return page.locator(selector).inner_text().replace("\u00a0", " ")


# Pictures come in


def test_a_picture_gets_the_most_probable_classes_as_bars(tab, script):
    script.reply = lambda model, content: answer(
        [("rose", 0.93), ("tulip", 0.0699), ("daisy", 0.0001)], size=(500, 375)
    )
    given = picture()
    give(tab, given)
    assert rows(tab) == [("rose", "93.0 %"), ("tulip", "7.0 %"), ("daisy", "< 0.1 %")]
    assert text_of(tab, ".says") == "rose 93.0 %"
    shares = "all => all.map(e => e.getBoundingClientRect().width / e.parentElement.getBoundingClientRect().width)"
    assert tab.locator(".bars .bar > span").evaluate_all(shares) == pytest.approx([0.93, 0.0699, 0.0001], abs=0.01)
    assert script.sent == [("mobilenet", given["buffer"])], "the file as it is, once"
    assert text_of(tab, "#facts") == "500 × 375 pixels, 1 kB"
    assert tab.locator("#frame canvas").get_attribute("aria-label") == "rose.png"


def test_the_time_is_that_of_the_server_and_of_the_wait(tab):
    give(tab, picture())
    parts = dict(text.rsplit(" ", 1) for text in tab.locator(".parts li").all_inner_texts())
    assert {key: float(parts[key]) for key in ("decoding", "waiting", "network")} == {
        "decoding": 3.1, "waiting": 0.4, "network": 6.0
    }  # fmt: skip
    whole = float(text_of(tab, ".time .note").split()[2])
    assert float(parts["on the way"]) == pytest.approx(max(0.0, whole - 9.5), abs=0.6)


@pytest.mark.parametrize(("probability", "shown"), [(1, "100.0 %"), (0.99996, "> 99.9 %"), (0.9994, "99.9 %")])
def test_a_share_is_whole_only_where_it_is(tab, script, probability, shown):
    script.reply = lambda model, content: answer([("rose", probability), ("tulip", 0)])
    give(tab, picture())
    assert rows(tab) == [("rose", shown), ("tulip", "0.0 %")]


def test_a_picture_that_the_network_does_not_know_is_called_unknown(tab, script):
    script.reply = lambda model, content: answer([("rose", 0.31), ("tulip", 0.28)], unknown=True)
    give(tab, picture())
    assert text_of(tab, ".says") == "Unknown"
    assert "The closest class is rose, but 31.0 % is too little for an answer." in text_of(tab, ".answer")
    assert text_of(tab, "#gallery .what") == "Unknown"
    assert text_of(tab, "#said") == "rose.png: Unknown"


def test_a_class_with_an_operating_point_of_its_own_is_the_answer(tab, script):
    script.reply = lambda model, content: {**answer([("rose", 0.6), ("tulip", 0.4)]), "answer": "tulip"}
    give(tab, picture())
    assert text_of(tab, ".says") == "tulip 40.0 %"
    assert rows(tab)[0] == ("rose", "60.0 %")


def drop(page, *files, kind="drop"):
    """Drop files on the page, or paste them, as a person's browser tells it."""
    content = [[file["name"], file["mimeType"], list(file["buffer"])] for file in files]
    page.evaluate(
        """([kind, files]) => {
        const data = new DataTransfer();
        for (const [name, type, bytes] of files) data.items.add(new File([new Uint8Array(bytes)], name, { type }));
        const event = kind === "drop" ? new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true })
          : new ClipboardEvent("paste", { clipboardData: data, bubbles: true });
        document.body.dispatchEvent(event);
        }""",
        [kind, content],
    )


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_pictures_are_dropped_and_pasted(tab, script, kind):
    drop(tab, picture("a.png"), picture("b.png", colour=(0, 90, 0)), kind=kind)
    tab.locator(".answer:not([aria-busy])").wait_for()
    tab.locator("#gallery .what", has_text="%").nth(1).wait_for()
    assert tab.locator("#shown").text_content() == "a.png"
    assert tab.locator("#gallery .name").all_text_contents() == ["a.png", "b.png"]
    assert len({content for _, content in script.sent}) == len(script.sent) == 2


def test_what_is_dropped_and_no_file_is_explained(tab):
    drop(tab)
    assert tab.locator("#hint").text_content() == "That was no file. Save the picture first, then drop or choose it."
    give(tab, picture())
    assert not tab.locator("#hint").is_visible()


def test_a_phone_offers_its_camera(visit):
    page = visit(viewport=PHONE, has_touch=True, is_mobile=True)
    ready(page)
    with page.expect_file_chooser() as waiting:
        page.get_by_role("button", name="Take a photo").tap()
    assert waiting.value.element.get_attribute("capture") == "environment"
    waiting.value.set_files(picture("photo.png"))
    page.locator(".bars").wait_for()


def test_the_gallery_has_what_was_tried_and_forgets_it(tab, script):
    give(tab, *(picture(f"{n}.png", colour=(40 * n, 0, 0)) for n in range(4)))
    give(tab, picture("later.png"))
    tab.locator("#gallery .what", has_text="%").nth(4).wait_for()
    assert tab.locator("#gallery .name").all_text_contents() == ["later.png", "0.png", "1.png", "2.png", "3.png"]
    tab.get_by_role("button", name="2.png").click()
    assert tab.locator("#shown").text_content() == "2.png"
    assert tab.locator("#gallery [aria-current] .name").text_content() == "2.png"
    assert len(script.sent) == 5, "what has been answered is not sent again"
    kept = """async () => [Object.keys({ ...localStorage, ...sessionStorage }), await caches.keys(),
        (await indexedDB.databases()).length, document.cookie]"""
    assert tab.evaluate(kept) == [[], [], 0, ""], "nothing is stored"
    tab.get_by_role("button", name="Forget all").click()
    assert tab.locator("#gallery li").count() == 0
    assert not tab.locator("#result").is_visible()
    assert tab.evaluate("document.activeElement.id") == "pick"


def test_a_picture_that_the_browser_cannot_show_is_still_answered(tab, script):
    give(tab, {"name": "scan.tif", "mimeType": "image/tiff", "buffer": b"II*\0"})
    tab.get_by_text("The browser cannot show this file.").wait_for()
    assert len(rows(tab)) == 5


# Errors


@pytest.mark.parametrize(
    ("status", "code", "meaning", "again"),
    [
        (422, "image_unreadable", "This file cannot be read as a picture.", False),
        (415, "format_not_supported", "The server does not read this kind of file.", False),
        (413, "body_too_large", "This file is too large for the server.", False),
        (413, "image_too_large", "This picture has too many pixels for the server.", False),
        (413, None, "This file is too large for the server.", False),
        (404, "model_unknown", "The server no longer has this network.", False),
        (504, None, "The server took too long and gave up.", True),
        (500, "fault", "The server has met a fault of its own.", True),
        (418, "teapot", "The server gave an answer that this page does not understand.", True),
    ],
)
def test_a_refusal_says_what_it_means_and_the_rest_goes_on(visit, script, status, code, meaning, again):
    page = visit(expected=REFUSED)
    ready(page)
    content = (
        {"code": code, "message": "image 1 of 1 is refused", "fix": "send another"} if code else b"<html>proxy</html>"
    )
    script.next = [(status, {}, content)]
    give(page, picture())
    assert page.locator(".answer .failed").text_content().startswith(meaning)
    for sentence in ("image 1 of 1 is refused", "send another"):
        assert page.locator(".answer").get_by_text(sentence, exact=True).count() == bool(code)
    assert page.locator("#gallery .what").text_content() == "no answer"
    assert page.locator("#said").text_content().startswith(f"rose.png: {meaning}")
    assert page.get_by_role("button", name="Try again").count() == again
    if again:
        page.get_by_role("button", name="Try again").click()
        page.locator(".bars").wait_for()
    give(page, picture("next.png"))
    assert len(rows(page)) == 5


def test_a_busy_server_is_asked_again_when_it_says(visit, script):
    page = visit(expected=REFUSED)
    ready(page)
    page.clock.install()
    script.next = [(503, {"Retry-After": "7"}, {"code": "busy", "message": "", "fix": ""})]
    page.set_input_files("#files", [picture()])
    page.get_by_text("The server is busy. Trying again in 7 s.").wait_for()
    assert page.locator("#gallery .what").text_content() == "again in 7 s"
    page.clock.run_for(1100)
    page.get_by_text("The server is busy. Trying again in 6 s.").wait_for()
    assert script.sent == []
    page.clock.run_for(6000)
    page.locator(".bars").wait_for()
    assert len(script.sent) == 1


def test_a_server_that_is_gone_is_named_and_all_pictures_wait(visit, script, address):
    page = visit(expected=REFUSED)
    ready(page)
    page.route("**/v1/predict*", lambda route: route.abort("connectionrefused"))
    page.route("**/healthz", lambda route: route.abort("connectionrefused"))
    give(page, *(picture(f"{n}.png") for n in range(4)))
    page.locator("#gallery .what", has_text="no answer").nth(3).wait_for()
    assert page.locator(".answer .failed").text_content().startswith("The server does not answer.")
    page.unroute_all()
    page.get_by_role("button", name="Try again").click()
    page.locator(".bars").wait_for()
    page.locator("#gallery .what", has_text="%").nth(3).wait_for()  # the others too


def test_a_server_that_breaks_off_is_not_called_gone(visit, address):
    page = visit(expected=REFUSED)
    ready(page)
    page.route("**/v1/predict*", lambda route: route.abort("connectionreset"))
    give(page, picture())
    assert page.locator(".answer .failed").text_content().startswith("The server broke off while the picture was sent.")


def test_a_server_that_is_gone_at_the_beginning_is_asked_again(visit):
    page = visit(expected=REFUSED)
    ready(page)
    page.route("**/v1/models", lambda route: route.abort("connectionrefused"))
    page.reload()
    page.get_by_role("alert").get_by_text("The server does not answer.").wait_for()
    page.unroute_all()
    page.get_by_role("alert").get_by_role("button", name="Try again").click()
    ready(page)
    give(page, picture())
    assert len(rows(page)) == 5


def test_the_token_is_asked_for_and_kept_for_this_tab_only(visit, script):
    script.token = "a-token-of-one-word"
    page = visit(expected=REFUSED)
    field = page.get_by_label("Token", exact=True)
    field.wait_for()
    assert page.evaluate("document.activeElement.id") == "token"
    assert field.get_attribute("type") == "password"
    field.fill("wrong")
    page.keyboard.press("Enter")
    page.get_by_text("That token is not right.").wait_for()
    page.get_by_label("Token", exact=True).fill(script.token)
    page.get_by_role("button", name="Continue").click()
    ready(page)
    give(page, picture())
    page.reload()
    ready(page)
    assert page.evaluate("[{ ...localStorage }, { ...sessionStorage }]") == [{}, {"podium-token": script.token}]
    script.token = "another-token-of-one-word"
    page.set_input_files("#files", [picture()])
    page.get_by_role("button", name="Cancel").click()
    page.locator(".failed", has_text="The server wants a token, and none that is right was given.").wait_for()


def test_a_person_without_the_token_is_asked_once_for_all_pictures(visit, script):
    page = visit(expected=REFUSED)
    ready(page)
    script.token = "a-token-of-one-word"
    page.set_input_files("#files", [picture(f"{n}.png") for n in range(12)])
    page.get_by_role("button", name="Cancel").click()
    page.locator("#gallery .what", has_text="no answer").nth(11).wait_for()
    assert page.get_by_label("Token", exact=True).count() == 0
    page.get_by_role("button", name="Try again").click()
    page.get_by_label("Token", exact=True).fill(script.token)
    page.keyboard.press("Enter")
    page.locator(".bars").wait_for()


# Networks


def test_two_networks_stand_side_by_side_and_their_differences_are_marked(tab, script):
    said = {
        "mobilenet": [("rose", 0.8), ("tulip", 0.15), ("daisy", 0.05)],
        "resnet20": [("tulip", 0.5), ("rose", 0.46), ("daisy", 0.04)],
    }
    script.reply = lambda model, content: answer(said[model])
    give(tab, picture())
    assert tab.locator(".answer h3").count() == 0
    tab.get_by_label("Compare with").select_option("resnet20")
    tab.locator("#differ:visible").wait_for()
    assert text_of(tab, "#differ") == "They differ: mobilenet says rose (80.0 %), resnet20 says tulip (50.0 %)."
    assert tab.locator(".answer h3").all_text_contents() == ["mobilenet", "resnet20"]
    assert [model for model, _ in script.sent] == ["mobilenet", "resnet20"], "the first is not asked again"
    second = tab.locator(".answer").nth(1)
    assert tab.locator(".answer").nth(0).locator(".difference").count() == 0
    marked = second.locator("li:has(.difference)")
    assert marked.locator(".name").all_text_contents() == ["tulip", "rose"]
    assert marked.locator(".difference").all_text_contents() == ["35 points more", "34 points less"]
    place = "all => all.map(e => { const b = e.parentElement.getBoundingClientRect(), m = e.getBoundingClientRect(); return (m.left + m.width / 2 - b.left) / b.width; })"
    assert second.locator(".mark").evaluate_all(place) == pytest.approx([0.15, 0.8], abs=0.01)
    assert tab.locator("#second option[value=mobilenet]").is_disabled()
    tab.get_by_label("Network", exact=True).select_option("resnet20")
    assert tab.locator(".answer").count() == 1
    assert rows(tab)[0] == ("tulip", "50.0 %")
    assert text_of(tab, "#gallery .what") == "tulip 50.0 %"


@pytest.mark.parametrize(
    ("first", "second", "line"),
    [
        ((("rose", 0.8), False), (("rose", 0.6), False), "Both say rose: 80.0 % and 60.0 %."),
        (
            (("rose", 0.2), True),
            (("rose", 0.6), False),
            "They differ: mobilenet does not know it, resnet20 says rose (60.0 %).",
        ),
        (
            (("rose", 0.8), False),
            (("rose", 0.2), True),
            "They differ: mobilenet says rose (80.0 %), resnet20 does not know it.",
        ),
        ((("rose", 0.2), True), (("daisy", 0.3), True), "Neither network knows it."),
    ],
)
def test_whether_two_networks_agree_is_said(tab, script, first, second, line):
    said = {"mobilenet": first, "resnet20": second}
    script.reply = lambda model, content: answer([said[model][0]], unknown=said[model][1])
    tab.get_by_label("Compare with").select_option("resnet20")
    tab.set_input_files("#files", [picture()])
    tab.locator("#differ:visible").wait_for()
    assert text_of(tab, "#differ") == line


def test_a_server_with_one_network_offers_no_choice(visit, script):
    del script.models["resnet20"]
    page = visit()
    ready(page)
    page.locator("#about:visible").wait_for()
    assert not page.locator("#models").is_visible()
    assert page.locator("details.card").get_attribute("open") is not None


def test_the_card_is_in_words(tab):
    tab.locator("details.card summary").first.click()
    first = tab.locator("details.card").first
    terms = dict(zip(first.locator("dt").all_text_contents(), first.locator("dd").all_inner_texts(), strict=True))
    low, high = (f"{100 * value:.1f}" for value in wilson(0.86, 100))
    assert terms["Accuracy"] == f"86.0 % right on 100 test images, which chose nothing (95 % interval {low}–{high} %)"
    assert terms["Unknown"].split("\n") == [
        "It says so below 28.8 % confidence.", "97.0 % of 100 test images are answered, 89.0 % of them right."
    ]  # fmt: skip
    assert terms["Input"].split("\n") == ["224 × 224 pixels, colour", "the central square of the picture"]
    assert terms["Started from"].split("\n") == ["ImageNet (keras:MobileNet_0.75)", "licence: Apache-2.0"]
    assert terms["Trained on"] == "flowers.tar: recipe finetune, 1,330 steps, seed 0"
    assert terms["SHA-256 of the file"] == "e68c91" + 58 * "0"
    assert first.locator(".classes li").all_text_contents() == ["daisy", "dandelion", "rose", "sunflower", "tulip"]
    first.get_by_text("The whole card").click()
    assert json.loads(first.locator("pre:not(:empty)").text_content())["steps"] == 1330


def test_a_card_with_nothing_in_it_is_no_trouble(visit, script):
    script.models = {
        "bare": {"classes": ["a", "b"]},
        "strange": {"classes": ["a", "b"], "scores": 3, "confidence": "x", "steps": {}},
    }
    page = visit()
    ready(page)
    give(page, picture())
    assert page.locator("details.card").count() == 2
    assert (
        page.locator("details.card").first.locator("dd").nth(1).text_content()
        == "not measured on images that it was not trained on"
    )


def opacity_of(canvas):
    """The opacity (H, W) of the pixels of a canvas, from 0 to 255."""
    width, height, values = canvas.evaluate(
        "e => { const p = e.getContext('2d').getImageData(0, 0, e.width, e.height); return [p.width, p.height, [...p.data].filter((_, i) => i % 4 === 3)]; }"
    )
    return np.array(values).reshape(height, width)


def test_a_heat_map_lies_on_what_the_network_sees(visit, script):
    values = np.zeros((7, 7))
    values[0, 6] = 1.0  # the upper right corner
    script.heat_maps = {"mobilenet"}
    script.reply = lambda model, content: answer(
        [("rose", 1.0)], heat_map={"width": 7, "height": 7, "values": values.tolist()}
    )
    page = visit()
    ready(page)
    give(page, picture(size=(500, 375)))
    page.locator(".over").wait_for()
    covered = opacity_of(page.locator(".over"))
    marked = np.zeros(
        (375, 500, 3), np.uint8
    )  # the same by Podium: a picture in which the square that it takes has its corner marked
    side = 375 * 0.875
    right, top = round((500 + side) / 2), round((375 - side) / 2)
    marked[top : top + 20, right - 20 : right] = 255
    seen = Preprocessing(224, 3, crop_pct=0.875).square(Image.fromarray(marked))
    assert seen[:10, -10:].min() > 200
    assert covered[top + 4 : top + 20, right - 20 : right - 4].min() > 200
    assert covered[:, right + 1 :].max() == covered[: top - 1].max() == 0
    assert covered[200:, :250].max() == 0
    boxes = [page.locator(f"#frame > canvas:nth-child({n})").bounding_box() for n in (1, 2)]
    assert boxes[0] == boxes[1]
    page.get_by_label("Heat map").fill("0")
    assert page.locator(".over").evaluate("e => getComputedStyle(e).opacity") == "0"
    page.get_by_label("Heat map").press("End")
    assert page.locator(".over").evaluate("e => getComputedStyle(e).opacity") == "1"


@pytest.mark.parametrize("span", [0.7, 1.1])
def test_the_places_of_a_heat_map_are_where_podium_explain_draws_them(visit, script, span):
    """A map need not reach the edges of what the network sees, or reaches beyond them."""
    values = np.random.default_rng(0).random((5, 5)).round(4)
    heat_map = {"width": 5, "height": 5, "span": span, "values": values.tolist()}
    script.heat_maps = {"mobilenet"}
    script.reply = lambda model, content: answer([("rose", 1.0)], heat_map=heat_map)
    page = visit()
    ready(page)
    give(page, picture(size=(500, 375)))
    page.locator(".over").wait_for()
    region = Preprocessing(224, 3, crop_pct=0.875).region(500, 375)
    expected = np.interp(on_photo(values, region, 500, 375, span), np.linspace(0, 1, 5), [0, 130, 200, 235, 255])
    assert np.abs(opacity_of(page.locator(".over")) - expected).max() <= 3


def test_names_that_are_markup_are_shown_as_text(visit, script):
    script.models = {
        "<b>net</b>": card(HOSTILE, data=HOSTILE[0], start=HOSTILE[1], licence=HOSTILE[2]),
        "b": card(HOSTILE),
    }
    script.reply = lambda model, content: answer([(name, 1 / 3) for name in HOSTILE])
    page = visit()
    page.on("dialog", lambda dialog: pytest.fail("a script ran"))
    ready(page)
    page.get_by_label("Compare with").select_option("b")
    give(page, picture(HOSTILE[0] + ".png"))
    page.locator("#differ:visible").wait_for()
    page.get_by_role("button", name="中文").click()
    assert [name for name, _ in rows(page)] == HOSTILE
    assert page.locator("#shown").text_content() == HOSTILE[0] + ".png"
    assert page.locator(".answer h3").first.text_content() == "<b>net</b>"
    assert page.locator(".classes").first.locator("li").all_text_contents() == HOSTILE
    assert page.locator("img, script:not([src]), b").count() == 0
    assert [path.split("/")[-1] for path in page.locator("script").evaluate_all("all => all.map(e => e.src)")] == [
        "theme.js", "main.js"
    ]  # fmt: skip


# Language, theme, keyboard, phone, screen reader


def test_the_switch_changes_the_language_of_all_that_is_read(tab, script):
    script.reply = lambda model, content: answer([("rose", 0.31), ("tulip", 0.28)], unknown=model == "resnet20")
    give(tab, picture())
    tab.get_by_label("Compare with").select_option("resnet20")
    tab.locator("#differ:visible").wait_for()
    for summary in tab.locator("details.card > summary").all():
        summary.click()
    tab.get_by_role("button", name="中文").click()
    assert tab.evaluate("document.documentElement.lang") == "zh-Hans"
    assert tab.title() == "这张图片上是什么？ · Podium"
    parts = "main :is(h1, h2, p, label, dt, button, option, summary, .line):not(.entry, .command)"
    texts = [text.strip() for text in tab.locator(parts).all_inner_texts()]
    names = {
        "rose",
        "mobilenet",
        "resnet20",
        "rose.png",
        "mobilenet_v1_075",
        "onnxruntime, float32, 7.3 MB",
        "podium 0.1.0",
    }
    names |= {"rose 31.0\u00a0%", "ImageNet (keras:MobileNet_0.75)"}
    left = {text for text in texts if text and not any("\u4e00" <= letter <= "\u9fff" for letter in text)}
    assert left - names == set()
    tab.reload()
    tab.get_by_role("heading", name="这张图片上是什么？").wait_for()  # the choice is remembered
    tab.get_by_role("button", name="English").click()
    assert tab.locator("h1").text_content() == "What is on this picture?"


def test_why_the_server_refuses_an_image_is_said_in_chinese_too(visit):
    """By what it says of real files, with their numbers and names."""
    page = visit(locale="zh-CN")
    ready(page)
    whole = picture()["buffer"]
    bomb = whole[:16] + struct.pack(">II", 30_000, 30_000) + whole[24:]
    texts = []
    for data in (
        b"",
        b"hello",
        b"<svg/>",
        b"%PDF-1.4",
        b"II*\0",
        whole[:60],
        bomb,
        b"P3 2000 1500 255\n" + b"1 " * 9_000_000,
    ):
        found = _decode(data, "the image", Preprocessing(8, 3), math.inf)
        texts += [found.message, found.fix]
    say = "texts => import('./static/languages.js').then(({ say }) => texts.map((text) => say(text)))"
    for text, said in zip(texts, page.evaluate(say, texts), strict=True):
        assert not re.search(r"[a-z]{2,} [a-z]{2,}", said), text
        assert sorted(re.findall(r"\d+", said)) == sorted(re.findall(r"\d+", text))


def test_a_browser_that_speaks_chinese_begins_in_chinese(visit):
    page = visit(locale="zh-CN")
    ready(page)
    assert page.locator("h1").text_content() == "这张图片上是什么？"


@pytest.mark.parametrize("wanted", ["light", "dark"])
def test_the_page_begins_in_the_theme_of_the_system_and_can_change_it(visit, wanted):
    page = visit(color_scheme=wanted)
    ready(page)
    background = "getComputedStyle(document.body).backgroundColor"
    light, dark = "rgb(255, 255, 255)", "rgb(17, 19, 21)"
    first, second = (light, dark) if wanted == "light" else (dark, light)
    assert page.evaluate(background) == first
    button = page.get_by_role("button", name="Dark")
    button.click()
    assert page.evaluate(background) == second
    assert button.get_attribute("aria-pressed") == ("true" if second == dark else "false")
    page.reload()
    assert page.evaluate(background) == second, "the choice is remembered"


def test_the_page_works_without_a_mouse(tab, script):
    tab.on("filechooser", lambda _: None)  # the browser tells of choosers from now on, not only when the key is pressed
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.textContent") == "Skip to the content"
    tab.keyboard.press("Enter")
    met = []
    for _ in range(3):
        tab.keyboard.press("Tab")
        met.append(tab.evaluate("document.activeElement.id"))
    assert met == ["first", "second", "pick"], "what follows the beginning of the content"
    with tab.expect_file_chooser() as waiting:
        tab.keyboard.press("Enter")
    waiting.value.set_files([picture("a.png"), picture("b.png")])
    tab.locator("#gallery .what", has_text="%").nth(1).wait_for()
    assert tab.locator("#said").text_content().startswith("a.png: daisy, ")
    tab.get_by_role("button", name="b.png").focus()
    tab.keyboard.press("Enter")
    assert tab.locator("#shown").text_content() == "b.png"
    assert tab.locator("#said").text_content().startswith("b.png: daisy, ")
    assert tab.evaluate("document.activeElement.innerText").startswith("b.png"), "the focus stays in the gallery"


@pytest.mark.parametrize("touch", [False, True])
def test_a_phone_never_scrolls_sideways(visit, script, touch):
    long = "a_class_with_a_name_that_is_much_longer_than_a_phone_is_wide_" * 2
    script.models = {long: card([long, "b"], start=long), "resnet20": card([long, "b"])}
    script.heat_maps = {long}
    script.reply = lambda model, content: answer(
        [(long, 0.9), ("b", 0.1)], heat_map={"width": 1, "height": 1, "values": [[1]]}
    )
    page = visit(viewport=PHONE, has_touch=touch, is_mobile=touch)
    ready(page)
    width = "document.documentElement.scrollWidth"
    assert page.evaluate(width) <= PHONE["width"]
    give(page, picture(long + ".png", size=(3000, 200)))
    page.get_by_label("Compare with").select_option("resnet20")
    page.locator("#differ:visible").wait_for()
    for summary in page.locator("details.card > summary").all():
        summary.click()
    page.get_by_text("The whole card").first.click()
    assert page.evaluate(width) <= PHONE["width"]


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious(visit, script, theme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe-playwright-python is not installed")
    script.heat_maps = {"mobilenet"}
    heat = {"width": 2, "height": 2, "values": [[0, 1], [1, 0]]}
    said = {
        "mobilenet": answer([("rose", 0.8), ("tulip", 0.2)], heat_map=heat),
        "resnet20": answer([("tulip", 0.3), ("rose", 0.2)], True),
    }
    script.reply = lambda model, content: said[model]
    page = visit(expected=REFUSED, color_scheme=theme, reduced_motion="reduce", bypass_csp=True)
    ready(page)
    violations = axe.Axe().run(page).response["violations"]
    page.get_by_label("Compare with").select_option("resnet20")
    give(page, picture())
    page.locator("#differ:visible").wait_for()
    for summary in page.locator("details.card > summary").all():
        summary.click()
    violations += axe.Axe().run(page).response["violations"]
    script.next = [(422, {}, {"code": "image_unreadable"}), (500, {}, {"code": "fault"})]
    give(page, picture())
    page.get_by_role("button", name="Try again").wait_for()
    violations += axe.Axe().run(page).response["violations"]
    script.token = "a-token-of-one-word"
    page.reload()
    page.get_by_label("Token", exact=True).wait_for()
    violations += axe.Axe().run(page).response["violations"]
    found = [(each["id"], each["impact"], each["nodes"][0]["html"]) for each in violations]
    assert [each for each in found if each[1] in ("serious", "critical")] == []


# With the real server


@pytest.fixture(scope="module")
def served(run, tmp_path_factory):
    """`podium serve` in a process of its own: (address, exported file); the second network is called like markup."""
    file = tmp_path_factory.mktemp("networks") / "digits.onnx"
    podium.export(run, file, heat_map=True)
    command = [sys.executable, "-m", "podium", "serve", f"lenet={file}", f"<b>={file}", "--port", "0", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            address = json.loads(process.stdout.readline())["url"].rstrip("/") + "/"
            while not accepts(address):
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.05)
                assert process.returncode is None, "the server ended"
            yield address, file
        finally:
            process.terminate()
    assert process.returncode == 0


def accepts(address):
    """Whether a server takes connections: it prints its address a little earlier."""
    try:
        socket.create_connection((urlsplit(address).hostname, urlsplit(address).port)).close()
    except ConnectionRefusedError:
        return False
    return True


def test_the_server_and_its_page_answer_as_the_file_does(browser, served, tmp_path):
    address, loaded = served[0], podium.load(served[1])
    split, files, asked, said = podium.load_data("digits").splits["test"], [], [], []
    for number in range(4):
        split.image(number, 1).resize((64, 64)).save(tmp_path / f"{number}.png")
        files.append(tmp_path / f"{number}.png")
    with browser.new_context(viewport=WIDE, locale="en-GB") as context:
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda m: m.type in ("error", "warning") and said.append(m.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        ready(page)
        page.get_by_label("Compare with").select_option("<b>")
        page.set_input_files("#files", files)
        page.locator("#gallery .what", has_text="%").nth(3).wait_for()
        page.locator("#differ:visible").wait_for()
        for path in files:
            page.locator("#gallery button", has_text=path.name).click()
            page.locator(".bars").nth(1).wait_for()
            expected = [(each["class"], each["probability"]) for each in loaded.predict(path, top=5)[0]["top"]]
            for place in (0, 1):
                found = rows(page, place)
                assert [name for name, _ in found] == [name for name, _ in expected]
                shares = [float(share.strip("<>% ")) / 100 for _, share in found]
                assert shares == pytest.approx([probability for _, probability in expected], abs=0.0011)  # of "< 0.1 %"
            assert text_of(page, "#differ").startswith("Both say ")
            opacity = np.interp(loaded.explain(path).array, np.linspace(0, 1, 5), [0, 130, 200, 235, 255])
            np.testing.assert_allclose(opacity_of(page.locator(".over")), opacity, atol=2)
        assert text_of(page, "#facts").startswith("64 × 64 pixels, ")
        assert said == []
        content = files[0].read_bytes()
        broken = [("cut.png", content[: len(content) // 2]), ("text.png", b"no picture" * 99), ("empty.png", b"")]
        meanings = [
            "This file cannot be read as a picture.",
            "The server does not read this kind",
            "This file is empty.",
        ]
        for (name, bytes_), meaning in zip(broken, meanings, strict=True):
            page.set_input_files("#files", [{"name": name, "mimeType": "image/png", "buffer": bytes_}])
            page.get_by_role("heading", name=name).wait_for()
            page.locator(".answer .failed", has_text=meaning).nth(1).wait_for()
    assert asked
    assert [url for url in asked if not url.startswith(address)] == []
