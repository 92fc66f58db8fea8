"""A headless Chromium, and what tests do with a page in it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from selenium import webdriver
from selenium.common.exceptions import (
    NoSuchElementException,
    StaleElementReferenceException,
    WebDriverException,
)
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from urllib3.exceptions import HTTPError

__all__ = ["Browser", "Chromium", "Keys", "missing"]

PATIENCE_SECONDS = 20
START_SECONDS = 60
# What a driver that has gone, or whose browser has, answers.
LOST = (WebDriverException, HTTPError)
# What a browser on any machine would find there, whose name was made to resolve to this one.
REBOUND = "rebound.example"


def missing() -> str | None:
    """Return what this machine lacks to run Chromium."""
    for program, package in (("chromium", "chromium"), ("chromedriver", "chromium-driver")):
        if shutil.which(program) is None:
            return f"{program} is not installed (Debian: {package})"
    return None


class Browser:
    """One window."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def answers(self) -> bool:
        """Tell whether it still runs, and answers."""
        try:
            return bool(self.driver.window_handles)
        except LOST:
            return False

    def open(self, url: str, *, width: int = 1280, height: int = 900, scheme: str = "light") -> None:
        """Open a page anew, in a window of that size, with a light or dark colour scheme."""
        self.driver.get("about:blank")
        self.console()
        self.resize(width, height)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        self.driver.get(url)

    def resize(self, width: int, height: int = 900) -> None:
        """Give the window another size."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def console(self) -> list[str]:
        """Return what the browser complained of since this was last asked."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def run(self, script: str, *arguments: Any) -> Any:
        """Run a script, which may await, and return what it returns."""
        body = f"const done = arguments[arguments.length - 1]; (async (...given) => {{ {script} }})"
        answer = (
            "(...[...arguments].slice(0, -1)).then((value) => done([value]), (error) => done(`${error}`))"
        )
        found = self.driver.execute_async_script(body + answer, *arguments)
        assert isinstance(found, list), found
        return found[0]

    def text(self, selector: str) -> str:
        """Return the text of an element; empty where there is none (yet)."""
        try:
            return str(self.driver.find_element(By.CSS_SELECTOR, selector).text)
        except (NoSuchElementException, StaleElementReferenceException):
            return ""

    def texts(self, selector: str) -> list[str]:
        """Return the texts of all elements."""
        try:
            return [str(each.text) for each in self.driver.find_elements(By.CSS_SELECTOR, selector)]
        except StaleElementReferenceException:
            return []

    def count(self, selector: str) -> int:
        """Return how many elements there are that can be seen."""
        script = (
            "return [...document.querySelectorAll(given[0])].filter((each) => each.checkVisibility()).length"
        )
        return int(self.run(script, selector))

    def click(self, selector: str, text: str = "") -> None:
        """Click the element, of several the one with that text, once it is there and enabled."""

        def clicked() -> bool:
            for element in self.driver.find_elements(By.CSS_SELECTOR, selector):
                if element.is_displayed() and element.is_enabled() and text in ("", element.text):
                    element.click()
                    return True
            return False

        self.until(clicked, f"{selector} {text!r} to be clicked")

    def type(self, *keys: str) -> None:
        """Type into whatever has the keyboard."""
        self.driver.switch_to.active_element.send_keys(*keys)

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        """Wait until `condition()` holds, and return what it returned."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (found := condition()):
            assert time.monotonic() < deadline, f"waited in vain: {what}; shown: {self.text('body')[:2000]}"
            time.sleep(0.03)
        return found

    def until_text(self, selector: str, text: str) -> None:
        """Wait until an element holds a text."""
        self.until(lambda: text in self.text(selector), f"{text!r} in {selector}")


class Chromium:
    """Runs Chromium once a test needs it, and anew where it could not start or has ended."""

    def __init__(self) -> None:
        self._browser: Browser | None = None

    def browser(self) -> Browser:
        """Return the window."""
        if self._browser is None or not self._browser.answers():
            self.close()
            self._browser = Browser(_started())
        return self._browser

    def close(self) -> None:
        """End it. Idempotent."""
        browser, self._browser = self._browser, None
        if browser is not None:
            with suppress(*LOST):
                browser.driver.quit()


def _started() -> webdriver.Chrome:
    """Start Chromium, without a sandbox of its own, which root cannot have: it loads nothing but ours."""
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or ""
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--no-first-run",
        "--disable-background-networking",
        f"--host-resolver-rules=MAP {REBOUND} 127.0.0.1",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            # It takes a port that is free, which another program may have by then.
            driver = webdriver.Chrome(
                options=options, service=webdriver.ChromeService(shutil.which("chromedriver"))
            )
            break
        except LOST:
            if time.monotonic() > deadline:
                raise
    driver.set_page_load_timeout(PATIENCE_SECONDS)
    driver.set_script_timeout(PATIENCE_SECONDS)
    return driver
