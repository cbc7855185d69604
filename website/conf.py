"""How Sphinx shows the lab as a site; report/report.py starts it. Nothing is run.

Source and Colab buttons appear where the forge's variables say the address.
"""

import os
from importlib.util import find_spec

# ---- What is shown ----
project = html_title = "The tense-conversion lab"
root_doc = "README"
include_patterns = ["README.md", "notebooks/0*.ipynb"]
include_patterns += [f"{room}/README.md" for room in "assignment experiments figures tests".split()]

# ---- How it is read ----
extensions = ["myst_nb", "sphinx_copybutton"]
nb_execution_mode = "off"
nb_mime_priority_overrides = [("html", "application/vnd.jupyter.widget-view+json", None)]
myst_enable_extensions = ["dollarmath", "html_image"]
myst_heading_anchors = 4
suppress_warnings = ["myst.header", "myst.xref_missing"]  # the tests follow all links
highlight_language = "text"
mathjax_path = "tex-svg.js"  # one file with its glyphs, from a package: it needs no network
[MATHJAX] = find_spec("sphinx-mathjax-offline").submodule_search_locations

# ---- How it looks ----
html_theme = "sphinx_book_theme"
html_static_path = ["site.css", f"{MATHJAX}/static/mathjax/tex-svg.js"]
html_css_files = ["site.css"]
templates_path = ["."]
SIDE = ["navbar-logo", "try", "search-button-field", "sbt-sidebar-nav", "colab"]
html_sidebars = {"**": [f"{name}.html" for name in SIDE]}
html_context = {"default_mode": "auto"}  # dark or light, as the browser says
html_copy_source = html_use_index = False
html_show_search_summary = "GITHUB_REPOSITORY" in os.environ  # from a disk none can be read
html_theme_options = {
    "show_toc_level": 2,
    "use_download_button": False,
    "use_fullscreen_button": False,
    "navbar_persistent": [],
    "footer_content_items": [],
}
if repository := os.environ.get("GITHUB_REPOSITORY"):
    html_theme_options |= {
        "repository_provider": "github",  # also on another host
        "repository_url": f"{os.environ['GITHUB_SERVER_URL']}/{repository}",
        "repository_branch": os.environ["GITHUB_REF_NAME"],
        "use_source_button": True,
        "launch_buttons": {"colab_url": "https://colab.research.google.com"},
    }
