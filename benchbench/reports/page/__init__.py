"""The page: a report as one HTML file that needs no network, and the same page served live while a suite runs.

Whatever comes from a run (labels, reasons, logs, recipes) goes in as JSON and reaches the document as text nodes alone;
the page's security policy allows its own script and style by their hashes, and nothing else.
"""

from benchbench.reports.page.render import write_page

__all__ = ["write_page"]
