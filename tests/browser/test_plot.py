"""What the plot draws of many points: as much as can be seen, and every spike."""

from typing import Any

from playwright.sync_api import Page

LINE = """async (points) => {
  const { lineThrough } = await import("/static/plot.js");
  const line = [];
  const path = { moveTo: (...at) => line.push(["move", ...at]), lineTo: (...at) => line.push(["line", ...at]) };
  const columns = [0, 1].map((index) => points.map((point) => point[index] ?? NaN));
  lineThrough(path, ...columns, (x) => x, (y) => y);
  return line;
}"""


def line(page: Page, points: list[tuple[float, float | None]]) -> Any:
    return page.evaluate(LINE, points)


def test_points_that_stand_apart_are_drawn_as_they_are_and_back_again(page: Page) -> None:
    points = [(0.2, 5.0), (10.4, 7.0), (20.0, 6.0), (10.4, 1.0)]

    assert line(page, points) == [["move", 0.2, 5], ["line", 10.4, 7], ["line", 20, 6], ["line", 10.4, 1]]


def test_where_a_value_is_missing_the_line_is_interrupted(page: Page) -> None:
    assert line(page, [(0, 1), (10, None), (20, 2), (30, 3)]) == [["move", 0, 1], ["move", 20, 2], ["line", 30, 3]]


def test_a_hundred_thousand_points_are_a_few_strokes_for_each_column_of_pixels_and_no_spike_is_lost(page: Page) -> None:
    points: list[tuple[float, float | None]] = [(i / 200, float(i * 7919 % 200)) for i in range(100_000)]
    points[61_800] = (309.0, 900.0)

    drawn = line(page, points)

    assert len(drawn) <= 4 * 502
    assert max(drawn, key=lambda step: step[2]) == ["line", 309, 900]
    assert min(step[2] for step in drawn) == 0
    assert {round(step[1]) for step in drawn} == set(range(501))
