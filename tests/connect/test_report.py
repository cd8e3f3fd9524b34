"""An R Markdown document that is rendered as content, which nobody looks at meanwhile.

    ENTRAR=.lib/entrar/bin/entrar R_LIBS=.lib python tests/connect/test_report.py
"""

import os
import subprocess
import tempfile
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
RENDER = 'a <- commandArgs(TRUE); rmarkdown::render(a[1], output_dir = a[2], intermediates_dir = a[2], quiet = TRUE)'


class Report(unittest.TestCase):
    def test_the_content_is_somebody_and_a_viewer_nobody(self):
        directory = self.enterContext(tempfile.TemporaryDirectory(prefix="report-"))
        # As `entrar demo` is used: with a command.
        render = ["Rscript", "--vanilla", "-e", RENDER, HERE / "report.Rmd", directory]
        done = subprocess.run(
            [os.environ["ENTRAR"], "demo", "--connect", "--", *render],
            stderr=subprocess.PIPE,
            text=True,
            timeout=300,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        page = (Path(directory) / "report.html").read_text()
        self.assertIn("there is no visitor here", page)
        self.assertIn("measurements", page)
        for shown in (page, done.stderr):
            self.assertNotIn("canary", shown)


if __name__ == "__main__":
    unittest.main()
