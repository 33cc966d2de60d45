"""axe-core, which finds what a keyboard or a screen reader cannot use; npm installs it, locked."""

import functools
from typing import Final

from tests.browser.chromium import Person
from tests.npm import npm_package

RUN: Final = """
async () => {
  // what could be preloaded, all styles once more, is for rules that are not on
  const found = await axe.run(document, {resultTypes: ["violations"], preload: false});
  return found.violations.flatMap(({id, nodes}) =>
    nodes.map((each) => `${id}: ${each.html.slice(0, 160)}: ${each.failureSummary}`));
}
"""
TOO_WIDE: Final = """
() => {
  const main = document.querySelector("main");
  const padding = parseFloat(getComputedStyle(main).paddingRight);
  const right = main.getBoundingClientRect().right - padding;
  const wide = [...main.querySelectorAll("table, pre, dl, ul, form, img, section")].filter(
    (each) => each.getBoundingClientRect().right > right + 1 && !each.closest(".scrolling"));
  const found = wide.map((each) => `too wide: ${each.outerHTML.slice(0, 80)}`);
  if (document.documentElement.scrollWidth > innerWidth) found.push("wider than the window");
  return found;
}
"""
"""Finds what reaches over the right edge of the column."""


BROKEN_WORDS: Final = """
() => {
  const found = [];
  for (const cell of document.querySelectorAll("main :is(td, th)")) {
    const texts = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
    while (texts.nextNode()) {
      const text = texts.currentNode;
      if (text.parentElement.closest(".id, .sentence, .file-table a, .mark bdi, .digest")) continue;
      for (const word of text.data.matchAll(/[\\w.]+/g)) {
        const range = document.createRange();
        range.setStart(text, word.index);
        range.setEnd(text, word.index + word[0].length);
        if (range.getClientRects().length > 1) found.push(`broken word: ${word[0]}`);
      }
    }
  }
  return found;
}
"""
"""Finds words in tables that go over two lines, besides names that may."""


def violations(person: Person) -> list[str]:
    """Return what axe-core finds on the page that is open, and what `misplaced` finds."""
    return axe_violations(person) + misplaced(person)


def axe_violations(person: Person) -> list[str]:
    """Return what axe-core finds on the page that is open."""
    # through the debugger, as the policy of the page allows no such script
    if not person.page.evaluate("'axe' in window"):
        person.page.evaluate(_source())
    return [f"{person.path}: {each}" for each in person.page.evaluate(RUN)]


def misplaced(person: Person) -> list[str]:
    """Return what is too wide on the page that is open, and the words that are broken in tables."""
    found = [*person.page.evaluate(TOO_WIDE), *person.page.evaluate(BROKEN_WORDS)]
    return [f"{person.path}: {each}" for each in found]


@functools.cache
def _source() -> str:
    return (npm_package("axe-core") / "axe.min.js").read_text()
