"""Settings of nbconvert for the report: an HTML page a notebook, and links that lead from page to page."""

import re

from nbconvert.preprocessors import Preprocessor


class LinkPages(Preprocessor):
    """Turns links between notebooks into links between their pages."""

    def preprocess_cell(self, cell, resources, index):
        if cell.cell_type == "markdown":
            cell.source = re.sub(r"\]\((\w+)\.ipynb\)", r"](\1.html)", cell.source)
        return cell, resources


c = get_config()  # noqa: F821 (nbconvert gives it)
c.NbConvertApp.export_format = "html"
c.HTMLExporter.preprocessors = [LinkPages]
c.FilesWriter.build_directory = "report"
