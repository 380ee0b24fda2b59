"""The page: a report as one HTML file that needs no network, and the same page served live while a suite runs.

Whatever comes from a run (labels, reasons, logs, recipes) goes in as JSON and reaches the document as text nodes alone;
the page's security policy allows its own script and style by their hashes, and nothing else.
"""

from benchbench.reports.page.data import page_data
from benchbench.reports.page.render import NAME, render, write_page
from benchbench.reports.sheet_request import sheet_request

__all__ = ["NAME", "page_data", "render", "sheet_request", "write_page"]
