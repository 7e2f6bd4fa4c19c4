#!/usr/bin/env python3
"""Looks at a report in headless Chromium: nothing on the console, nothing wider than a phone's screen or a laptop's.

    tools/check_report.py report.html

Each page is laid out 390 and 1280 pixels wide, on light ground and on dark. Ends with 1 and names what sticks out. By hand,
not in CI; `--browser` names a Chromium that is not on the path.
"""

import argparse
import html
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

WIDTHS = [390, 1280]
BROWSERS = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"]

# A frame has the width that its media queries see, whatever the smallest window of the browser is.
FRAME = '<iframe width="{width}" height="3000" style="border: 0" srcdoc="{page}"></iframe>'
MEASURE = """<script>
addEventListener("load", () => {
  const seen = [...document.querySelectorAll("iframe")].map((frame) => {
    const root = frame.contentDocument.documentElement, width = frame.clientWidth;
    const out = (element) => element.getBoundingClientRect().right > width + 0.5;
    const wide = [...root.querySelectorAll("body *")].filter(out).slice(0, 5);
    return {
      width,
      needs: root.scrollWidth,
      elements: root.querySelectorAll("*").length,
      ground: getComputedStyle(frame.contentDocument.body).backgroundColor,
      wide: wide.map((element) => element.tagName + " " + element.textContent.trim().slice(0, 60)),
    };
  });
  document.title = JSON.stringify(seen);
});
</script>"""


def look(browser, page, scheme):
    """What the browser measured in each frame, and what it wrote to its console."""
    text = html.escape(page.read_text())
    frames = "".join(FRAME.format(width=width, page=text) for width in WIDTHS)
    with tempfile.TemporaryDirectory() as folder:
        wrapper = pathlib.Path(folder) / "page.html"
        wrapper.write_text(f'<!DOCTYPE html><meta charset="utf-8"><title></title>{MEASURE}<body>{frames}')
        dark = ["--force-dark-mode", "--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
        command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/profile", *dark]
        command += ["--hide-scrollbars", "--enable-logging=stderr", "--window-size=1400,3200", "--dump-dom", wrapper.as_uri()]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=120)
    title = re.search("<title>(.*?)</title>", answer.stdout, re.DOTALL)
    if not title or not title.group(1):
        raise SystemExit(f"{browser} measured nothing:\n{answer.stderr[-2000:]}")
    console = [line for line in answer.stderr.splitlines() if "CONSOLE" in line]
    return json.loads(html.unescape(title.group(1))), console


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="+", type=pathlib.Path, help="reports")
    parser.add_argument("--browser", help="Chromium")
    arguments = parser.parse_args()
    browser = arguments.browser or next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise SystemExit(f"none of {', '.join(BROWSERS)} is there")
    wrong = 0
    for page in arguments.pages:
        for scheme in ["light", "dark"]:
            frames, console = look(browser, page, scheme)
            for frame in frames:
                fits = frame["needs"] <= frame["width"] and not frame["wide"]
                verdict = "fits" if fits else f"needs {frame['needs']} px: {'; '.join(frame['wide'])}"
                print(f"{page}, {scheme} ({frame['ground']}), {frame['width']} px: {frame['elements']} elements, {verdict}")
                wrong += not fits
            for line in console:
                print(f"{page}, {scheme}: {line}")
            wrong += len(console)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
