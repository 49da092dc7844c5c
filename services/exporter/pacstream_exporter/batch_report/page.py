"""A report as one HTML page: no script, no link to anything, fit for a printer."""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from pacstream_exporter.batch_report.content import View

MEANINGS = {
    "uids": "the PACS lists the instances: the sets of UIDs are equal",
    "count": "the PACS tells a number of instances: it is equal",
    "move": "only the PACS's counters of the transfer are known",
    "quiet": "nothing more has come for a while",
    "none": "nothing is known",
}
"""Of the grades of evidence, the strongest first."""


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("pacstream_exporter.batch_report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template("report.html.j2")


def page_of(report: View) -> str:
    return _template().render(report, meanings=MEANINGS)
