"""The report: one HTML file that needs nothing else."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from bench.plots import plots
from bench.results import Results
from bench.table import heads, rows

_TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Tndrl benchmark</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
h2 { margin-top: 3rem; border-top: 1px solid #ddd; padding-top: 1rem; }
table { border-collapse: collapse; font-size: 13px; }
.wide { overflow-x: auto; }
th, td { text-align: right; padding: .15rem .6rem; border-bottom: 1px solid #eee; white-space: nowrap; }
th:nth-child(-n+2), td:nth-child(-n+2) { text-align: left; }
tr.first td { border-top: 1px solid #999; }
svg { max-width: 100%; height: auto; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 1rem; font-size: 13px; }
dd { margin: 0; }
</style>
</head>
<body>
<h1>Tndrl benchmark</h1>
<p>Every peer carries the same service, with the same messages and limits, in one run. A cell is the median of the
repetitions, with the interval that holds it; a ratio is the median of the repetitions' own ratios.</p>
<dl>{% for name, value in about.items() %}<dt>{{ name }}</dt><dd>{{ value }}</dd>{% endfor %}
{% for what in skipped %}<dt>not measured</dt><dd>{{ what }}</dd>{% endfor %}</dl>
{% for part in parts %}
<h2>{{ part.number }}. {{ part.title }}</h2>
<p><em>{{ part.question }}</em> {{ part.links }}.</p>
{% for plot in part.plots %}<div>{{ plot }}</div>{% endfor %}
<div class="wide"><table>
<tr><th>case</th><th>peer</th>{% for head in part.heads %}<th>{{ head }}</th>{% endfor %}</tr>
{% for row in part.rows %}<tr{% if row.case != part.previous[loop.index0] %} class="first"{% endif %}>
<td>{{ row.case if row.case != part.previous[loop.index0] else "" }}</td><td>{{ row.peer }}</td>
{% for cell in row.cells %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}
</table></div>
<p>{{ part.why }}</p>
{% endfor %}
</body>
</html>
"""


def report(results: Results) -> str:
    """Return the page."""
    template = Environment(autoescape=True).from_string(_TEMPLATE)
    return template.render(
        about=results.about, skipped=results.skipped, parts=[_part(result) for result in results.scenarios]
    )


def _part(result: Any) -> dict[str, Any]:
    found = rows(result)
    return {
        "number": result.number,
        "title": result.title,
        "question": result.question,
        "links": "; ".join(sorted({case.link for case in result.cases})),
        "why": result.why,
        "heads": heads(result),
        "rows": found,
        "previous": ["", *[row.case for row in found]],
        "plots": [Markup(plot) for plot in plots(result)],  # noqa: S704  # drawn here
    }
